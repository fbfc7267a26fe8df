"""
Identity: which events are the same, as 64-bit keys.

A key names an invocation, a fingerprint (what a fork's copy shares with its
original) or a pair of session and skill.  Keys are one-way: the ledger keeps
them instead of ids and names.  63 bits are used, as SQLite's rowids are signed;
among ten million keys a collision has a chance of 1 in 200 000.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

from opencode_exporter.events import Invocation, UserSkillLoad

_MASK: Final = (1 << 63) - 1
_V1: Final = 1
_V2: Final = 2
GENERATION_BITS: Final = 3
COPIED_BIT: Final = 4
"""Set in an owner when the other generation's copy has been noted."""
_PART_SHIFT: Final = 3
_PART_MASK: Final = (1 << 20) - 1


def key(*words: str) -> int:
    """Return the key of some words."""
    return xxh3_64_intdigest("\x1f".join(words).encode("utf-8", "surrogatepass")) & _MASK


def invocation_key(event: Invocation) -> int:
    """Return the key that both generations share: message and call id."""
    return key("i", event.message, event.call)


def namesake_key(event: Invocation) -> int:
    """Return the key of a further call with the same message and call id."""
    return key("n", event.message, event.call, event.part)


def load_key(event: UserSkillLoad) -> int:
    """Return the key of a skill load by the user."""
    return key("u", event.message, str(event.position))


def owner(event: Invocation | UserSkillLoad, generation: str) -> int:
    """Return which row a key stands for: its generation and a hash of its part."""
    part = key("p", event.part) & _PART_MASK if isinstance(event, Invocation) else 0
    return part << _PART_SHIFT | (_V1 if generation == "v1" else _V2)


def same_generation(one: int, other: int) -> bool:
    """Say whether two owners are rows of one generation."""
    return one & GENERATION_BITS == other & GENERATION_BITS


def same_row(one: int, other: int) -> bool:
    """Say whether two owners of one generation are the same row."""
    return one & ~COPIED_BIT == other & ~COPIED_BIT


def fingerprints(event: Invocation | UserSkillLoad) -> tuple[int, ...]:
    """
    Return what a copy of the event would share with it, the surest first.

    A call that has not begun has only its message's time, which a fork keeps.
    """
    if isinstance(event, UserSkillLoad):
        return (key("fu", event.skill, str(event.at)),)
    waiting = key("fw", event.call, str(event.message_created))
    if not event.started:
        return (waiting,)
    begun = key("fb", event.call, event.tool, str(event.started))
    return (begun,) if event.status is not None else (begun, waiting)


def session_owner(session: str) -> int:
    """Return the owner of a fingerprint: its session."""
    return key("o", session)


def session_skill_key(session: str, skill: str) -> int:
    """Return the key that says: this session has loaded this skill."""
    return key("s", session, skill)
