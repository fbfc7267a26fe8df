"""
Times OpenCode's own statistics over a database, in a home of its own.

OpenCode opens its database for writing, so it gets a copy.  Knows nothing of
the exporter.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import apsw

from contract.recorder.binaries import Binary, find
from contract.recorder.provision import PROJECT, environment

VERSION: Final = "1.18.33"
_LONGEST_S: Final = 600


def binary() -> Binary | None:
    """Return the executable, or nothing where it was not fetched."""
    return find(VERSION)


def measure(source: Path, scratch: Path) -> dict[str, float | str]:
    """Return how much longer the statistics take than those of an empty database, if they do."""
    found = binary()
    if found is None:
        raise SystemExit(f"OpenCode {VERSION} is not there.")
    with tempfile.TemporaryDirectory(dir=scratch, prefix="opencode-") as directory:
        root = Path(directory)
        database = Path(environment(root)["XDG_DATA_HOME"], "opencode", "opencode.db")
        (root / PROJECT).mkdir()
        _run(found, root)  # makes its database
        start, _ = _run(found, root)
        _take_over(source, database)
        whole, shown = _run(found, root)
        if "TOOL USAGE" not in shown:
            raise SystemExit(f"OpenCode found no tools in its copy of {source.name}.")
    return {"seconds": max(0.0, whole - start), "start_seconds": start}


def _run(opencode: Binary, root: Path) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(
        [str(opencode.path), "stats"],
        cwd=root / PROJECT,
        env=environment(root),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=True,
    )
    return time.perf_counter() - began, done.stdout


def _take_over(source: Path, database: Path) -> None:
    """Put a copy in the place of OpenCode's database, with its notes on migrations."""
    connection = apsw.Connection(str(database))
    done = connection.execute("SELECT id, time_completed FROM migration").fetchall()
    connection.close()
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    shutil.copyfile(source, database)
    connection = apsw.Connection(str(database))
    with connection:
        connection.executemany("INSERT OR REPLACE INTO migration VALUES (?, ?)", done)
    connection.close()
