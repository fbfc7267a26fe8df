"""
The address of the project, from `[project.urls]` of `pyproject.toml`: nowhere else is it decided.

`make docs` writes it into the alert rules, and into the cases that promtool holds them
against.  Links from one document to another are relative, so they need no address.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from harness.places import ROOT

_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HOME: Final[str] = _PROJECT["urls"]["Repository"]
RUNBOOKS: Final = f"{HOME}/blob/main/deploy/prometheus/RUNBOOKS.md"
_RUNBOOK_URL: Final = re.compile(r"(?<=runbook_url: )\S+(?=#)")


def with_runbooks(root: Path) -> dict[Path, str]:
    """Return the files of rules below a folder, with links to the runbooks at this address."""
    folders = (root / "deploy" / "prometheus" / "rules", root / "tests" / "deploy" / "rules")
    texts = {path: path.read_text("utf-8") for one in folders for path in sorted(one.glob("*.yml"))}
    return {path: _RUNBOOK_URL.sub(RUNBOOKS, text) for path, text in texts.items()}
