"""File systems of a test's own. All of them need root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.markers import demand
from harness.real_tools import missing


@contextmanager
def small(directory: Path, *options: str) -> Iterator[None]:
    """Mount a file system in memory, with options that say how small it is."""
    directory.mkdir(parents=True, exist_ok=True)
    with _mounted("-t", "tmpfs", *options, "tmpfs", at=directory):
        yield


@contextmanager
def read_only(directory: Path, at: Path) -> Iterator[None]:
    """Show a directory at a place, which may be its own, read-only."""
    at.mkdir(exist_ok=True)
    with _mounted("--bind", str(directory), at=at):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], capture_output=True, check=True)
        yield


@contextmanager
def _mounted(*words: str, at: Path) -> Iterator[None]:
    demand("root")
    if subprocess.run(["mount", *words, str(at)], capture_output=True, check=False).returncode:
        missing("mounting is not permitted here: needs root with CAP_SYS_ADMIN", "root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)
