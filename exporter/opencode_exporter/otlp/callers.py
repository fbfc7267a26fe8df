"""
Callers: which call started a sub-agent, as far as that is known.

A call names the session that it started while it runs.  So it is known before that
session's first invocation has ended, and forgotten when too many others came after.
"""

from __future__ import annotations

from typing import Final

from opencode_exporter.events import Invocation

_SESSIONS: Final = 1000
_CALLS: Final = 20
"""Of one session: a sub-agent can be asked again."""


class Callers:
    """The calls that started sub-agents, by the sessions of these."""

    def __init__(self) -> None:
        self._calls: dict[str, dict[int, Invocation]] = {}

    def note(self, call: Invocation) -> None:
        """Note a call that runs, or has ended, if it started a sub-agent."""
        if not call.child:
            return
        calls = self._calls.pop(call.child, {})
        calls[call.started] = call
        self._calls[call.child] = calls  # the last one to be forgotten
        if len(calls) > _CALLS:
            del calls[min(calls)]
        if len(self._calls) > _SESSIONS:
            del self._calls[next(iter(self._calls))]

    def of(self, event: Invocation) -> Invocation | None:
        """Return the call in which an invocation happened: the last that began before it."""
        calls = self._calls.get(event.session, {})
        began = max((at for at in calls if at <= event.started), default=None)
        return None if began is None else calls[began]
