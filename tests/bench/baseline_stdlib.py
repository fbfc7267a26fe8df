"""
Times the same statement with the SQLite that Python was built with.

It is usually older than the exporter's.  Must run in a process in which nobody
else opens a database; knows only the statement.
"""

from __future__ import annotations

import sqlite3  # noqa: TID251  # a baseline, run in a process of its own
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from bench.baseline import STATEMENTS

VERSION: Final = sqlite3.sqlite_version


def measure(path: Path, generation: str) -> tuple[float, list[tuple[Any, ...]]]:
    """Return how long the statement takes, seconds, and its rows; see `baseline.measure`."""
    address = f"{path.absolute().as_uri()}?immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        began = time.perf_counter()
        rows = connection.execute(STATEMENTS[generation]).fetchall()
        return time.perf_counter() - began, rows
