"""
Where the OpenCode executables are.

`OPENCODE_BINARIES` names a folder with `<version>/package/bin/opencode`, as
npm's tarballs unpack; what is missing there is fetched with npm's own client.
It runs nothing of OpenCode.
"""

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("1.2.27", "1.14.48", "1.17.11", "1.17.18", "1.18.33", "1.18.34", "2.0.15")
_FETCH_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Binary:
    """One OpenCode executable and what its version lets it do."""

    version: str
    path: Path

    @property
    def is_v2(self) -> bool:
        """Return whether it writes the generation of 2.x."""
        return self.numbers >= (2,)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the version for comparing."""
        return tuple(int(part) for part in self.version.split("."))

    @property
    def approve_flags(self) -> list[str]:
        """Return the flags with which `run` allows what no rule denies."""
        return ["--auto"] if self.numbers >= (1, 18) else []

    @property
    def server_flags(self) -> list[str]:
        """Return the flags that keep 2.x from talking to a background service."""
        return ["--standalone"] if self.is_v2 else []


def folder() -> Path:
    """Return the folder of the executables."""
    default = Path.home() / ".cache" / "opencode-exporter-tests"
    return Path(os.environ.get("OPENCODE_BINARIES") or default)


def find(version: str) -> Binary | None:
    """Return the executable of a version, or nothing when it was not fetched."""
    path = folder() / version / "package" / "bin" / "opencode"
    return Binary(version, path) if os.access(path, os.X_OK) else None


def fetch(version: str) -> Binary:
    """
    Return the executable of a version, fetching it when it is missing.

    Raises:
        RuntimeError: npm has no such package or unpacked it differently.
    """
    if found := find(version):
        return found
    target = folder() / version
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    subprocess.run(
        ["npm", "pack", "--silent", "--force", _package(version)],
        cwd=target,
        check=True,
        timeout=_FETCH_SECONDS,
        stdout=subprocess.DEVNULL,
    )
    for archive in target.glob("*.tgz"):
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
        archive.unlink()
    if not (found := find(version)):
        raise RuntimeError(f"{_package(version)} holds no package/bin/opencode")
    return found


def _package(version: str) -> str:
    name = "@opencode/cli-linux-x64-baseline" if version.startswith("2.") else "opencode-linux-x64"
    return f"{name}@{version}"
