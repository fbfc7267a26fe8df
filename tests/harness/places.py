"""Where things of this repository lie."""

from __future__ import annotations

from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = TESTS.parent
DEPLOY: Final = ROOT / "deploy"
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
RECORDINGS: Final = TESTS / "contract" / "recordings"
GOLDEN: Final = TESTS / "expose" / "golden"
BENCH: Final = TESTS / "bench"
SOAK: Final = TESTS / "soak"
