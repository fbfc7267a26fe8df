"""
Events: what happened, as immutable typed facts.

Both generations of the source decode into these, and nothing behind decode
knows which generation an event came from.  All times are Unix milliseconds of
the source's clock, all durations milliseconds; 0 stands for "not recorded".
"""

from __future__ import annotations

from typing import Final

import msgspec

COMPLETED: Final = "completed"
ERROR: Final = "error"
DENIED: Final = "denied"
ABORTED: Final = "aborted"
ABANDONED: Final = "abandoned"
STATUSES: Final = (COMPLETED, ERROR, DENIED, ABORTED, ABANDONED)
"""How an invocation ends; values of the label ``status``."""

UNKNOWN: Final = "_unknown"
"""Label value: the source did not say, or the model named what does not exist."""
OVERFLOW: Final = "_other"
"""Label value used past a label's limit, and for what no shipped list knows."""

MODEL: Final = "model"
USER: Final = "user"


class Session(msgspec.Struct, frozen=True, gc=False):
    """Where an invocation happened.  ``created`` is when its session began."""

    id: str
    project: str
    created: int


class Invocation(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """
    One use of a tool, as one row shows it: open, or ended with a status.

    ``part`` tells apart calls that share message and call id: the part id in
    v1, the position among its namesakes in v2 (empty for the first).
    """

    session: str
    message: str
    call: str
    part: str
    tool: str
    status: str | None = None  # None: open
    reason: str = ""  # class of an error
    vouched: bool = True  # the source shows that this tool exists
    running: bool = False  # open, and past the arrival of its arguments
    started: int = 0
    ended: int = 0
    duration: int = -1  # -1: not measured
    wait: int = -1
    output_bytes: int = 0
    truncated: bool = False
    skill: str | None = None  # set on skill loads: the name that was asked for
    program: str = ""  # shell only
    exit: str = ""  # shell only
    agent: str = UNKNOWN
    project: str = UNKNOWN
    suspect: bool = False  # started before its own session: perhaps a fork's copy
    message_created: int = 0  # copied unchanged by a fork


class UserSkillLoad(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A skill that the user invoked: a slash command or a mention, not a tool call."""

    session: str
    message: str
    position: int
    skill: str
    at: int
    content_bytes: int = 0
    agent: str = UNKNOWN
    project: str = UNKNOWN
    suspect: bool = False


class Rejection(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A row, or one call of a row, that could not be decoded and was set aside."""

    row: str
    cause: str


Event = Invocation | UserSkillLoad | Rejection
