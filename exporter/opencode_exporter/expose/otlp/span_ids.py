"""
Ids of traces and spans, and below which span an invocation of a sub-agent belongs.

Ids are keyed hashes, so that the same thing always has the same one.  A session and all its
sub-agents are one trace.  Without the key, which is the salt of the ledger, nobody can tell
whether an id is that of a session he knows.

The call that started a sub-agent ends after all that this did, and most versions of
OpenCode name the sub-agent's session only then.  So its span has an id made of that
session, which both know beforehand.  A sub-agent can be asked again: the calls that do
so have ids of their own, and its work is below them where they name it while they run.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from opencode_exporter.events import Invocation

_SESSIONS: Final = 1000
_CALLS: Final = 20


def trace_id(salt: str, event: Invocation) -> int:
    """Return 128 bits that stand for the topmost session of an invocation."""
    return _hashed(salt, f"t {event.root or event.session}", 16)


def call_id(salt: str, event: Invocation) -> int:
    """Return 64 bits that stand for an invocation."""
    return _hashed(salt, f"i {event.message} {event.call} {event.part}", 8)


def starter_id(salt: str, session: str) -> int:
    """Return 64 bits that stand for the invocation that started a sub-agent's session."""
    return _hashed(salt, f"s {session}", 8)


def _hashed(salt: str, text: str, size: int) -> int:
    data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=size, key=salt.encode()).digest()
    return int.from_bytes(digest) or 1  # 0 is no id


class Ids(NamedTuple):
    """The ids of a span; no parent is 0."""

    trace: int
    span: int
    parent: int


class Callers:
    """The calls that asked sub-agents, by the sessions of these, as far as they are known."""

    def __init__(self) -> None:
        self._calls: dict[str, dict[int, Invocation]] = {}  # by start

    def note(self, call: Invocation) -> None:
        """Note a call that runs, or has ended, if it names a sub-agent."""
        if not call.child:
            return
        calls = self._calls.pop(call.child, {})
        calls[call.started] = call
        self._calls[call.child] = calls  # the last one to be forgotten
        if len(calls) > _CALLS:
            del calls[sorted(calls)[1]]  # the first one is the starter
        if len(self._calls) > _SESSIONS:
            del self._calls[next(iter(self._calls))]

    def ids(self, salt: str, event: Invocation) -> Ids:
        """Return the ids of an invocation's span; ``salt``: the key of all ids."""
        return Ids(trace_id(salt, event), self._own(salt, event), self._parent(salt, event))

    def _own(self, salt: str, event: Invocation) -> int:
        first = min(self._calls.get(event.child, {}), default=event.started)
        if event.child and event.started == first:
            return starter_id(salt, event.child)
        return call_id(salt, event)

    def _parent(self, salt: str, event: Invocation) -> int:
        if not event.root:
            return 0
        calls = self._calls.get(event.session, {})
        began = max((at for at in calls if at <= event.started), default=None)
        return starter_id(salt, event.session) if began is None else self._own(salt, calls[began])
