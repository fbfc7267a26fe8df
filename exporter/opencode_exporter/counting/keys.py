"""
Identity: which events are the same, as keys and prints of 64 bits.

A key names an invocation, or a pair of session and skill; a print is what a fork's
copy shares with its original.  Both are one-way: the ledger keeps them instead of
ids and names.

The first bits of both say in which 17 minutes something began, the others are a
hash, so that what is looked up and written together lies together in the ledger,
and a commit touches a few of its pages instead of all.  Those of keys come round
after two years; among ten million invocations of one year the chance that any two share
a key is 1 in 80 000.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from opencode_exporter.bits import hashed
from opencode_exporter.events import Invocation, Rejection, Remark, Step, UserSkillLoad

_KEY_BITS: Final = 47
_KEY_MASK: Final = (1 << _KEY_BITS) - 1
_TIME_SHIFT: Final = 20  # milliseconds to units of 17 minutes
_TIME_MASK: Final = (1 << 16) - 1

_ORIGIN_BITS: Final = 3
COPIED_BIT: Final = 4
"""Set in an owner when the copy of another origin has been noted."""
_PART_SHIFT: Final = 3
_PART_MASK: Final = (1 << 28) - 1  # with the bits before it, four bytes in the ledger

PRINT_BITS: Final = 40
"""Of a print, the bits that are a hash."""
_PRINT_MASK: Final = (1 << PRINT_BITS) - 1
_PRINT_TIME_MASK: Final = (1 << 22) - 1
SESSION_BITS: Final = 24
"""Of a session's hash; beside a print, which is nearly unique by itself, they do."""
_SESSION_MASK: Final = (1 << SESSION_BITS) - 1


def key(text: str, at: int = 0) -> int:
    """
    Return the key of a text; its first letters tell the kind of key.

    Args:
        text: What to hash.
        at: When it began, ms; must never change with the text.
    """
    return (at >> _TIME_SHIFT & _TIME_MASK) << _KEY_BITS | hashed(text) & _KEY_MASK


def invocation_key(event: Invocation) -> int:
    """Return the key of a call, which its copies of any origin share: message and call id."""
    return key(f"i {event.message} {event.call}", event.message_created)


def orphan_key(event: Invocation) -> int:
    """Return the key that an invocation has as long as its message cannot be read."""
    return key(f"i {event.message} {event.call}")


def orphaned(key: int) -> int:
    """Return the key that an invocation would have as an orphan, by that which it has."""
    return key & _KEY_MASK


def namesake_keys(event: Invocation) -> tuple[int, int]:
    """Return the keys of a further call with the same message and call id; the second: orphaned."""
    text = f"n {event.message} {event.part} {event.call}"
    return key(text, event.message_created), key(text)


def row_key(event: Step | Remark) -> int:
    """Return the key of a message, which its copies of any origin share."""
    return key(f"m {event.message}", event.created)


def session_key(session: str) -> int:
    """Return the key of a session: of its conversation, and of its having been counted."""
    return key(f"c {session}")


def load_key(event: UserSkillLoad) -> int:
    """Return the key of a skill load by the user."""
    return key(f"u {event.message} {event.position}", event.at)


def rejection_key(table: str, event: Rejection) -> int:
    """Return the key of a row that was set aside for a cause."""
    return key(f"r {table} {event.cause} {event.row}")


def session_skill_key(session: str, skill: str) -> int:
    """Return the key of a session that has loaded a skill."""
    return key(f"s {session} {skill}")


Judged = Invocation | UserSkillLoad | Step | Remark
"""Events that count once, and that a fork can copy."""


def owner(event: Judged, origin: int) -> int:
    """Return the owner of a key: the origin of its row and a hash of its part."""
    if isinstance(event, Invocation) and event.part:
        return (crc32(event.part.encode()) & _PART_MASK) << _PART_SHIFT | origin
    return origin


def same_origin(one: int, other: int) -> bool:
    """Return whether two owners are rows of one origin."""
    return one & _ORIGIN_BITS == other & _ORIGIN_BITS


def same_row(one: int, other: int) -> bool:
    """Return whether two owners of one origin are the same row."""
    return one & ~COPIED_BIT == other & ~COPIED_BIT


def _print(text: str, at: int) -> int:
    return (at >> _TIME_SHIFT & _PRINT_TIME_MASK) << PRINT_BITS | hashed(text) & _PRINT_MASK


def fingerprint(event: Judged) -> int:
    """Return what a fork's copy of the event shares with it: call id, tool, start."""
    if isinstance(event, Step):
        return _print(f"m assistant {event.created}", event.created)
    if isinstance(event, Remark):
        return _print(f"m {event.role or event.kind} {event.created}", event.created)
    if isinstance(event, UserSkillLoad):
        return _print(f"u {event.at} {event.skill}", event.at)
    started = event.stamped or event.started  # a fork copies what its row says
    if started:
        return _print(f"b {started} {event.tool} {event.call}", started)
    return waiting_fingerprint(event)


def waiting_fingerprint(event: Invocation) -> int:
    """Return the print of a call that has not ended: its start may still move."""
    return _print(f"w {event.message_created} {event.call}", event.message_created)


class SessionOwners:
    """Owners of fingerprints: their sessions, as hashes.  Events come session by session."""

    def __init__(self) -> None:
        self._last = ("", 0)

    def of(self, session: str) -> int:
        """Return the owner of a session's fingerprints."""
        if self._last[0] != session:
            self._last = (session, hashed(session) & _SESSION_MASK)
        return self._last[1]
