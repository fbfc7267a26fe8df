"""Where things of this repository lie, and paths that not every file system has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = TESTS.parent
DEPLOY: Final = ROOT / "deploy"
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
RECORDINGS: Final = TESTS / "contract" / "recordings"
GOLDEN: Final = TESTS / "expose" / "golden"
SOAK: Final = TESTS / "soak"


def not_utf8(directory: Path, name: str) -> Path:
    """Return a path whose name is Latin-1, or skip where the file system has no such names."""
    path = Path(os.fsdecode(os.fsencode(directory) + b"/" + name.encode("latin-1")))
    try:
        path.mkdir(parents=True)
    except OSError:
        pytest.skip("every name is UTF-8 on this file system")
    path.rmdir()
    return path
