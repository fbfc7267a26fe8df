"""An exporter that is told to end."""

from __future__ import annotations

import time

from harness.processes.served import Served


def end(served: Served) -> float:
    """Send SIGTERM; return the seconds until it had ended, well."""
    told = time.monotonic()
    assert served.stop() == 0
    assert '"msg": "stopped"' in served.log.splitlines()[-1]
    return time.monotonic() - told
