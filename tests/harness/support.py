"""What tests share, in the places where it was before: only to be imported until all have moved."""

from __future__ import annotations

from harness.clock import HOUR_MS, FakeClock
from harness.exporters import Bench, Exposed, Labels, exposed
from harness.places import not_utf8
from harness.real_tools import missing, real_opencode, real_tool
from harness.recordings import truth, unpack
from harness.waiting import PATIENCE_S, SOON_S, wait_for

__all__ = [
    "HOUR_MS",
    "PATIENCE_S",
    "SOON_S",
    "Bench",
    "Exposed",
    "FakeClock",
    "Labels",
    "exposed",
    "missing",
    "not_utf8",
    "real_opencode",
    "real_tool",
    "truth",
    "unpack",
    "wait_for",
]
