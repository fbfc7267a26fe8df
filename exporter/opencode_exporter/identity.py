"""
Identity: which events are the same, as 64-bit keys.

A key names an invocation, a fingerprint (what a fork's copy shares with its
original) or a pair of session and skill.  Keys are one-way: the ledger keeps
them instead of ids and names.  63 bits are used, as SQLite's rowids are signed;
among ten million keys a collision has a chance of 1 in 200 000.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from xxhash import xxh3_64_intdigest

from opencode_exporter.events import Invocation, Rejection, UserSkillLoad

_MASK: Final = (1 << 63) - 1
_V1: Final = 1
_V2: Final = 2
_GENERATION_BITS: Final = 3
COPIED_BIT: Final = 4
"""Set in an owner when the other generation's copy has been noted."""
_PART_SHIFT: Final = 3


def key(text: str) -> int:
    """Return the key of a text; its first letters say what it is the key of."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) & _MASK


def invocation_key(event: Invocation) -> int:
    """Return the key that both generations share: message and call id."""
    return key(f"i {event.message} {event.call}")


def namesake_key(event: Invocation) -> int:
    """Return the key of a further call with the same message and call id."""
    return key(f"n {event.message} {event.part} {event.call}")


def load_key(event: UserSkillLoad) -> int:
    """Return the key of a skill load by the user."""
    return key(f"u {event.message} {event.position}")


def rejection_key(table: str, event: Rejection) -> int:
    """Return the key that says: this row has been set aside for this cause."""
    return key(f"r {table} {event.cause} {event.row}")


def session_skill_key(session: str, skill: str) -> int:
    """Return the key that says: this session has loaded this skill."""
    return key(f"s {session} {skill}")


def owner(event: Invocation | UserSkillLoad, generation: str) -> int:
    """Return which row a key stands for: its generation and a hash of its part."""
    bits = _V1 if generation == "v1" else _V2
    if isinstance(event, Invocation) and event.part:
        return crc32(event.part.encode()) << _PART_SHIFT | bits
    return bits


def same_generation(one: int, other: int) -> bool:
    """Say whether two owners are rows of one generation."""
    return one & _GENERATION_BITS == other & _GENERATION_BITS


def same_row(one: int, other: int) -> bool:
    """Say whether two owners of one generation are the same row."""
    return one & ~COPIED_BIT == other & ~COPIED_BIT


def fingerprint(event: Invocation | UserSkillLoad) -> int:
    """Return what a fork's copy of the event shares with it: call id, tool, start."""
    if isinstance(event, UserSkillLoad):
        return key(f"fu {event.at} {event.skill}")
    if event.started:
        return key(f"fb {event.started} {event.tool} {event.call}")
    return waiting_fingerprint(event)


def waiting_fingerprint(event: Invocation) -> int:
    """Return the same for a call that has not ended: its start may still move."""
    return key(f"fw {event.message_created} {event.call}")


def session_owner(session: str) -> int:
    """Return the owner of a fingerprint: its session."""
    return key(f"o {session}")
