"""
Times the least that reading every call can cost: one SQL statement.

Knows only the table that holds the calls of a generation; whatever the exporter
does is measured against it.

    PYTHONPATH=tests python -m bench.baseline big.db
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw

STATEMENTS: Final = {
    "v1": """
SELECT json_extract(data,'$.tool'), json_extract(data,'$.state.status'), count(*),
       sum(json_extract(data,'$.state.time.end') - json_extract(data,'$.state.time.start'))
FROM part WHERE json_extract(data,'$.type') = 'tool' GROUP BY 1, 2
""",
    "v2": """
SELECT json_extract(call.value,'$.name'), json_extract(call.value,'$.state.status'), count(*),
       sum(json_extract(call.value,'$.time.completed') - json_extract(call.value,'$.time.ran'))
FROM session_message AS message, json_each(message.data,'$.content') AS call
WHERE message.type = 'assistant' AND json_extract(call.value,'$.type') = 'tool' GROUP BY 1, 2
""",
}
"""Calls and their milliseconds by tool and status, one statement for each generation."""


def measure(path: Path, generation: str = "v1") -> tuple[float, list[tuple[Any, ...]]]:
    """
    Return how long the statement takes, seconds, and its rows.

    Nobody may write the database meanwhile, and it must have no WAL.
    """
    with closing(connect(path)) as connection:
        began = time.perf_counter()
        rows = connection.execute(STATEMENTS[generation]).fetchall()
        return time.perf_counter() - began, rows


def connect(path: Path) -> apsw.Connection:
    """Open a database that nobody writes, and leave nothing beside it."""
    # Immutable: a -wal and a -shm left behind would cost every later poll two files more.
    return apsw.Connection(
        f"{path.absolute().as_uri()}?immutable=1",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )


def main() -> None:
    """Measure the file named on the command line and print seconds and rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--generation", choices=tuple(STATEMENTS), default="v1")
    flags = parser.parse_args()
    seconds, rows = measure(flags.path, flags.generation)
    for tool, status, count, total in rows:
        print(f"{tool:24} {status:10} {count:8} {(total or 0) / 1000:14.1f} s")  # noqa: T201
    print(f"{seconds:.2f} s, SQLite {apsw.sqlite_lib_version()}")  # noqa: T201


if __name__ == "__main__":
    main()
