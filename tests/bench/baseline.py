"""
Times the least that reading every call can cost: one SQL statement.

Knows only the ``part`` table of v1; whatever the exporter does is measured
against it.

    python tests/bench/baseline.py big.db
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

import apsw

STATEMENT: Final = """
SELECT json_extract(data,'$.tool'), json_extract(data,'$.state.status'), count(*),
       sum(json_extract(data,'$.state.time.end') - json_extract(data,'$.state.time.start'))
FROM part WHERE json_extract(data,'$.type') = 'tool' GROUP BY 1, 2
"""


def measure(path: Path) -> tuple[float, list[tuple[Any, ...]]]:
    """Return how long the statement takes, seconds, and its rows."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        began = time.perf_counter()
        rows = connection.execute(STATEMENT).get
        took = time.perf_counter() - began
    finally:
        connection.close()
    return took, list(rows or [])


def main() -> None:
    """Measure the file named on the command line and print seconds and rows."""
    seconds, rows = measure(Path(sys.argv[1]))
    for tool, status, count, total in rows:
        print(f"{tool:24} {status:10} {count:8} {(total or 0) / 1000:14.1f} s")  # noqa: T201
    print(f"{seconds:.2f} s, SQLite {apsw.sqlite_lib_version()}")  # noqa: T201


if __name__ == "__main__":
    main()
