"""
The queue of a conversation: rows in their order, behind one that is not over.

Pure.  No hash in it is that of a file or command: they are turned by a mask, and back
when the row is applied.
"""

from __future__ import annotations

from typing import Final

import msgspec

from opencode_exporter.counting.turns.state import Conversation
from opencode_exporter.events import ABANDONED, Remark, SessionRow, Step

STALE_MS: Final = 60_000
"""How old a step must be that is not over, to show that what is before it will not end."""


def put(conversation: Conversation, row: SessionRow, mask: int) -> None:
    """Put a row into the queue: in its own place, or at the end."""
    if isinstance(row, Step):
        row = turned(row, mask)
    place = conversation.find(row.message)
    if place < 0:
        conversation.queue = [*conversation.queue, row]
    else:
        old = conversation.queue[place]
        if isinstance(row, Step) and isinstance(old, Step):
            # The other generation's row of the same message may have rested for long.
            row = msgspec.structs.replace(row, changed=max(old.changed, row.changed))
        conversation.queue = [*conversation.queue[:place], row, *conversation.queue[place + 1 :]]


def take_out(conversation: Conversation, message: str) -> None:
    """Take a row out of the queue."""
    conversation.queue = [row for row in conversation.queue if row.message != message]


def is_left(queue: list[SessionRow], now: int) -> bool:
    """
    Return whether the step at the head of a queue will not end: the session went on.

    What has changed since the later step began is worked on beside it, by another process.

    Args:
        queue: Rows in their order.
        now: Unix ms.
    """
    head = queue[0]
    return isinstance(head, Step) and any(
        later.created >= head.changed and (later.is_over or later.created <= now - STALE_MS)
        for later in queue[1:]
        if isinstance(later, Step)
    )


def turned(step: Step, mask: int) -> Step:
    """Return a step with the hashes of its targets turned by a mask, or turned back."""
    if not any(call.targets for call in step.calls):
        return step
    calls = tuple(
        msgspec.structs.replace(call, targets=tuple(one ^ mask for one in call.targets))
        for call in step.calls
    )
    return msgspec.structs.replace(step, calls=calls)


def without_files(step: Step) -> Step:
    """Return a step without the files of its calls: its end tells them again."""
    if not any(call.files for call in step.calls):
        return step
    calls = tuple(msgspec.structs.replace(call, files=()) for call in step.calls)
    return msgspec.structs.replace(step, calls=calls)


def given_up(step: Step) -> Step:
    """Return a step as it is counted when it is given up: over, with its open calls abandoned."""
    calls = tuple(
        call if call.status else msgspec.structs.replace(call, status=ABANDONED)
        for call in step.calls
    )
    return msgspec.structs.replace(step, is_over=True, calls=calls)


def newest_of(row: SessionRow) -> int:
    """Return the newest time that a row shows, ms."""
    if isinstance(row, Remark):
        return row.created
    calls = [max(call.started, call.ended) for call in row.calls]
    return max(row.created, row.completed, *calls)
