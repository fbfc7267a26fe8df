"""
Copies: which rows a fork may have made.

Pure.  A fork copies what its session says, with its times, and gives only the rows new
ones.  So a copy is older than its session, unless the clock was set back before the fork
was made: then 2.x says so, and in 1.x rows were written before what they tell of.  This
decides nothing: what is suspect is a copy when another session has left the same trace.
"""

from __future__ import annotations

import re
from typing import Final

from opencode_exporter.events import Session

APART_MS: Final = 10_000
"""So far apart the writes of a row and of what it tells of may be: less says nothing."""
_COPIED_ID: Final = re.compile(r".+_\d+", re.DOTALL)
"""2.x gives a copy the id of its original and a number."""


def is_suspect_v1(session: Session, created: int, written: int) -> bool:
    """
    Return whether a row of 1.x may be a copy.

    Args:
        session: Its session.
        created: When its message was made, as it says, ms.
        written: When it was written itself, ms; 0 where nobody knows.
    """
    return created < session.created or session.is_fork or _is_rewound(created, written)


def is_surely_copied_v1(session: Session, created: int, written: int) -> bool:
    """
    Return whether a row of 1.x is a copy for sure: of a call that has not started.

    A fork starts nothing before itself.  Where the clock was set back while a session went
    on, its own rows are older than it as well.  Arguments as above.
    """
    if session.is_fork:
        return _is_rewound(created, written)
    return created < session.created <= written


def is_suspect_v2(session: Session, row: str, created: int, written: int) -> bool:
    """
    Return whether a row of 2.x may be a copy.

    Args:
        session: Its session.
        row: Its id.
        created: When it was made, or what it tells of, as it says, ms.
        written: When it was written last, ms; 0 where nobody knows.
    """
    return (
        created < session.created
        or _is_rewound(created, written)
        or (session.is_fork and _COPIED_ID.fullmatch(row) is not None)
    )


def _is_rewound(created: int, written: int) -> bool:
    """Return whether a row was written before what it tells of was there."""
    return 0 < written < created - APART_MS
