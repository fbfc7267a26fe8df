"""How tests wait: they ask again and again, and give up after long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""How long something may take that does happen, on a machine that is busy with other things."""
SOON_S = 8.0
"""What is told to end at once has ended by then; what it must not wait for takes longer."""


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE_S, every: float = 0.02) -> Any:
    """Return the first true answer of a condition that is asked again and again."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"did not happen within {seconds} s")
        pause.wait(every)
