"""
The wheel that is tested: built and installed anew when something of it has changed.

Files decide, not their times: a checkout touches them, and most of what is edited is not
in the wheel. `make` runs this before every target that needs the wheel.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from harness.places import ROOT

DIST: Final = ROOT / "dist"
PACKAGE: Final = ROOT / "exporter" / "opencode_exporter"
NAME: Final = "opencode-exporter"


def parts(root: Path = ROOT) -> Iterator[tuple[str, bytes]]:
    """Yield all that the wheel is made of: names with their contents, in a fixed order."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    project["tool"] = {"hatch": project["tool"]["hatch"]}
    project.pop("dependency-groups", None)
    yield "pyproject.toml", json.dumps(project, sort_keys=True).encode()
    files = (root / PACKAGE.relative_to(ROOT)).rglob("*")
    shipped = sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts)
    for path in (root / "README.md", root / "LICENSE", *shipped):
        yield str(path.relative_to(root)), path.read_bytes()


def digest(root: Path = ROOT) -> str:
    """Return what is another one whenever the wheel would be."""
    found = hashlib.sha256()
    for name, content in parts(root):
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def installed() -> str:
    """Return the SHA-256 of the wheel that is installed here, empty if none is."""
    try:
        origin = distribution(NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    hashes = json.loads(origin or "{}").get("archive_info", {}).get("hashes", {})
    return str(hashes.get("sha256", ""))


def built() -> Path | None:
    """Return the wheel that was built last, if it is still there."""
    wheels = sorted(DIST.glob("opencode_exporter-*.whl"))
    return wheels[-1] if wheels else None


def is_current(stamp: Path) -> bool:
    """Return whether what is installed is the wheel, and the wheel what lies here."""
    wheel = built()
    return (
        wheel is not None
        and stamp.exists()
        and stamp.read_text("utf-8") == digest()
        and installed() == hashlib.sha256(wheel.read_bytes()).hexdigest()
    )


def build_and_install(stamp: Path) -> None:
    """Build the wheel and install it beside this Python; note what it was made of."""
    made_of = digest()
    for old in DIST.glob("*"):
        old.unlink()
    python = (sys.executable, "-m")
    subprocess.run([*python, "build", "-q", "--no-isolation", "--wheel"], cwd=ROOT, check=True)
    quiet = ("-q", "--disable-pip-version-check", "--no-deps", "--force-reinstall")
    subprocess.run([*python, "pip", "install", *quiet, str(built())], check=True)
    stamp.write_text(made_of, encoding="utf-8")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    if not is_current(given):
        build_and_install(given)
