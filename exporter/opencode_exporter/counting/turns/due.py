"""
Due: when something of a conversation has to be decided, be it only by silence.

Pure.  A conversation in which nothing waits is never due.
"""

from __future__ import annotations

from typing import Final

from opencode_exporter.counting.turns.cache import NEVER
from opencode_exporter.counting.turns.state import Conversation

IDLE_MS: Final = 3_600_000
"""How long a session must have been silent for its invocations to be counted."""
DECIDED_MS: Final = 60_000
"""How long a step that may be the last of its turn waits for another."""


def due_of(conversation: Conversation, abandon_after_ms: int, now: int) -> int:
    """Return when something of a conversation has to be decided, ms."""
    due, last = NEVER, conversation.last
    if conversation.kind and not (conversation.observed and is_idle(conversation, now)):
        due = last + IDLE_MS
    if conversation.is_open:
        due = min(due, last + abandon_after_ms)
    if waits(conversation):
        due = min(due, last + DECIDED_MS)
    return min(due, last) if conversation.loads else due


def is_idle(conversation: Conversation, now: int) -> bool:
    """Return whether a session has been silent for so long that its invocations count."""
    return now - conversation.last >= IDLE_MS


def waits(conversation: Conversation) -> bool:
    """Return whether only what follows, or a while of silence, tells how a turn ends."""
    turn = conversation.turn
    return turn is not None and turn.waits and not conversation.queue
