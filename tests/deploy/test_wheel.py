"""What `make` takes for another wheel, which it then builds and installs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from harness import wheel
from harness.places import ROOT


def write(name: str, old: str, new: str) -> Callable[[Path], object]:
    """Return a change: other text in a file."""

    def change(root: Path) -> None:
        path = root / name
        text = path.read_text("utf-8") if path.exists() else old
        assert old in text
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(old, new, 1), "utf-8")

    return change


def touch(root: Path) -> None:
    """Give every file another time, as a checkout does."""
    for path in root.rglob("*"):
        os.utime(path, (0, 0))


MODULE: Final = "exporter/opencode_exporter/errors.py"
SAME: Final[dict[str, Callable[[Path], object]]] = {
    "times": touch,
    "settings of a linter": write("pyproject.toml", "line-length = 100", "line-length = 99"),
    "a tool of developers": write("pyproject.toml", '"mypy>=1.15"', '"mypy>=1.16"'),
    "what Python compiled": write("exporter/opencode_exporter/__pycache__/errors.pyc", "", "x"),
}
ANOTHER: Final[dict[str, Callable[[Path], object]]] = {
    "code": write(MODULE, "\n", "\n# more\n"),
    "a module": lambda root: (root / MODULE).rename(root / MODULE.replace("errors", "mistakes")),
    "the page on the package index": write("README.md", "\n", "\nmore\n"),
    "a dependency": write("pyproject.toml", "click>=8.4", "click>=8.5"),
    "how it is built": write("pyproject.toml", "hatchling>=1.27", "hatchling>=1.28"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a copy of what the wheel is made of."""
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(wheel.PACKAGE, tmp_path / wheel.PACKAGE.relative_to(ROOT), ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("change", SAME)
def test_wheel_stays(change: str, root: Path) -> None:
    """By the times of files it was built anew after each checkout and edit of a setting."""
    before = wheel.digest(root)
    SAME[change](root)
    assert wheel.digest(root) == before


@pytest.mark.parametrize("change", ANOTHER)
def test_wheel_is_another(change: str, root: Path) -> None:
    """Whatever would be in it counts, so that what is tested is what lies here."""
    before = wheel.digest(root)
    ANOTHER[change](root)
    assert wheel.digest(root) != before
