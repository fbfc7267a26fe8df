"""
An exporter that polls without an end, to be killed: ``python -m properties.polling DIR``.

Takes few rows at a time and commits often, so that death finds it anywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.clock import FakeClock
from harness.exporters import Bench
from opencode_exporter.service import source_poll
from opencode_exporter.source.opencode import tailer


def main(directory: Path, ms: int) -> None:
    """Say that it polls, and poll until it is killed."""
    tailer.CHUNK_ROWS = 5  # type: ignore[misc]
    source_poll._COMMIT_ROWS = 20  # type: ignore[misc]
    exporter = Bench(directory, FakeClock(ms)).exporter()
    print("polling", flush=True)  # noqa: T201  # to whoever kills it
    while True:
        exporter.poll()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
