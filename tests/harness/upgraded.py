"""
Databases that hold both generations, as an upgrade of OpenCode leaves them.

2.x adds its tables beside those of 1.x and copies the steps into them.  Knows
nothing of what is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from harness.databases import V1, V2, schema

_TABLES: Final = "DROP TABLE IF EXISTS session_message;" + re.sub(
    r"CREATE (UNIQUE INDEX|INDEX|TABLE) (?!IF)", r"CREATE \1 IF NOT EXISTS ", schema("v2")
)


@contextmanager
def upgraded(path: Path) -> Iterator[tuple[V1, V2]]:
    """Open one file as both generations; each may still write."""
    with V1(path) as old, V2(path, ddl=_TABLES, now=old.now + 1000) as new:
        yield old, new


def import_step(
    old: V1, new: V2, session: str, message: str, calls: list[dict[str, Any]], **step: Any
) -> None:
    """Write a step of v1 into the tables of v2, under the same ids."""
    created = old.db.execute("SELECT time_created FROM session WHERE id = ?", (session,)).get
    new.session(id=session, created=created)
    new.assistant(session, calls, id=message, **step)
