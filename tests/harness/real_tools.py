"""
Real tools and rights that a test needs.

Where one is missing the test is skipped, or fails if all are required: REQUIRE_REAL=1.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from contract.recorder.binaries import Binary, find
from harness import wheel
from harness.markers import demand


def missing(what: str, marker: str = "real") -> NoReturn:
    """Skip a test whose tool or right is not there; where all are required, fail."""
    demand(marker)
    if os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail(f"{what} (REQUIRE_REAL=1)")
    pytest.skip(what)


def real_tool(*names: str) -> str:
    """Return the path of a program by the first of its names that is there, or skip."""
    demand("real")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or missing(f"{names[0]} is not installed: see .ci/run")


def real_opencode(version: str) -> Binary:
    """Return the executable of an OpenCode, or skip with a sentence."""
    demand("real")
    return find(version) or missing(
        f"OpenCode {version} is not there: PYTHONPATH=tests python -m contract.recorder fetch"
    )


def built_wheel() -> Path:
    """Return the wheel that `make` built, or skip with a sentence."""
    demand("real")
    return wheel.built() or missing("there is no wheel: `make unit` builds it")


def need_root(why: str) -> None:
    """Skip unless root runs the tests; ``why`` is the sentence."""
    demand("root")
    if os.geteuid() != 0:
        missing(why, "root")
