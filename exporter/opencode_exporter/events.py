"""
Events: what happened, as immutable typed facts.

Whatever a client and its versions write is decoded into these, and nothing behind
decode and source knows which of them an event came from.  All times are Unix milliseconds of
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

TODO_STATUSES: Final = ("pending", "in_progress", "completed", "cancelled")
"""What 1.x knows of todo items; values of the label ``todo_status``."""

MODEL: Final = "model"
USER: Final = "user"

LONGEST_NAME: Final = 256
"""Characters of a name that an event holds, and of an id: a label shows half of them."""
LONGEST_PATH: Final = 4096
"""Bytes of a path, as of every system on which agents run; what is longer is none."""


SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"
OUTCOMES: Final = (SUCCEEDED, FAILED, INTERRUPTED, ABANDONED)
"""How a turn or a skill run ends; values of the label ``outcome``."""


class Session(msgspec.Struct, frozen=True, gc=False):
    """Where an invocation happened.  ``created`` is when its session began."""

    id: str
    project: str
    created: int
    parent: str = ""  # id of the session that started it, of a sub-agent's
    is_fork: bool = False  # 2.x says so; of 1.x known where the clock was set back before
    directory: str = ""  # what its relative paths begin at
    worktree: str = ""  # only where --files.top asks for paths: what they are shown from
    root: str = ""  # id of the session above all others, of a sub-agent's

    def kept(self) -> Session:
        """Return the session without its paths, which are never stored."""
        if not self.directory and not self.worktree:
            return self
        return msgspec.structs.replace(self, directory="", worktree="")


NO_SESSION: Final = Session("", UNKNOWN, 0)
"""Where something happened that names no session."""


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
    root: str = ""  # as its session has it
    child: str = ""  # id of the session that it started
    stamped: int = 0  # the start as its row has it, where that is not the true one


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


class FileChange(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a completed invocation did to one file."""

    operation: str  # read, edited, created, deleted, moved
    language: str
    added: int = 0  # lines
    removed: int = 0
    path: str = ""  # from the worktree; only where --files.top asks for it


class StepCall(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An invocation as its step shows it, when the step is over."""

    tool: str
    status: str | None  # None: open, for the step is
    vouched: bool = True
    skill: str = ""  # of a skill load: the name
    started: int = 0
    ended: int = 0
    failed: bool = False  # error, or an exit code that is not 0
    refused: bool = False  # by the user, which ends the turn
    targets: tuple[int, ...] = ()  # hashes of the files, URL, skill or command it is about
    child: str = ""  # id of the session that it started
    files: tuple[FileChange, ...] = ()
    inner: tuple[tuple[str, str], ...] = ()  # tool and status of the calls inside ``execute``
    own: bool = True  # OpenCode runs it, and goes on with what it says


class Tokens(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Tokens by type; they do not overlap."""

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def plus(self, other: Tokens) -> Tokens:
        """Return the sum, by type."""
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.reasoning + other.reasoning,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )

    def minus(self, other: Tokens) -> Tokens:
        """Return what is more than another sum, by type."""
        return Tokens(
            max(0, self.input - other.input),
            max(0, self.output - other.output),
            max(0, self.reasoning - other.reasoning),
            max(0, self.cache_read - other.cache_read),
            max(0, self.cache_write - other.cache_write),
        )

    def by_type(self) -> tuple[tuple[str, int], ...]:
        """Return values of the label ``token_type`` with their numbers."""
        return (
            ("input", self.input),
            ("output", self.output),
            ("reasoning", self.reasoning),
            ("cache_read", self.cache_read),
            ("cache_write", self.cache_write),
        )


class Step(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """One step of the model: an assistant's message with its invocations."""

    session: str
    message: str
    table: str  # that its row is in
    origin: int  # of its row; see `chunk.RowKind`
    created: int
    is_over: bool = False  # nothing of it will change
    completed: int = 0
    streamed: int = 0  # 2.x only
    agent: str = UNKNOWN
    provider: str = UNKNOWN
    model: str = UNKNOWN
    finish: str = ""  # the source's word; empty: it did not finish
    error: str = ""  # name of the error, as the source has it
    tokens: Tokens = Tokens()
    cost: int = 0  # in 10**-10 US dollars
    retries: int = 0  # 1 where it was asked again
    calls: tuple[StepCall, ...] = ()
    is_summary: bool = False  # of a compaction of 1.x: belongs to no turn
    is_note: bool = False  # a command that the user typed: no step of the model
    where: Session = NO_SESSION
    suspect: bool = False
    parent: str = ""  # id of the message that it answers; 1.x only
    changed: int = 0  # when its rows changed last; of one that is not over
    tells_end: bool = False  # that its turn ends with it; of others a remark (``idle``) says so
    is_unfinished: bool = False
    """
    It is over only because the next step of its session has begun (2.x).

    Its process may have died; or it works on beside that step, and finishes it yet.
    """


class Remark(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """
    A row of a session that is no step: what the user says, what 2.x says of a turn.

    ``kind``: ``human`` (a message that wants an answer), ``idle`` (the turn is over,
    2.x), ``note`` (synthetic, a command typed by the user, a compaction).
    """

    session: str
    message: str
    table: str  # that its row is in
    origin: int  # of its row
    created: int
    kind: str
    is_over: bool = True
    role: str = ""  # where it counts as a message
    agent: str = UNKNOWN
    outcome: str = ""  # of idle
    compaction: str = ""  # auto, manual
    skills: tuple[str, ...] = ()  # that the user invoked with it
    provider: str = UNKNOWN  # of what a compaction used
    model: str = UNKNOWN
    tokens: Tokens = Tokens()
    cost: int = 0
    where: Session = NO_SESSION
    suspect: bool = False


SessionRow = Step | Remark
"""A row of a session, which moves its conversation on."""


class Rejection(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """A row, or one call of a row, that could not be decoded and was set aside."""

    row: str
    cause: str
    until: int = 0  # Unix ms: when our clock has passed its times, and it is looked at again


Event = Invocation | UserSkillLoad | Rejection | SessionRow


def weight(event: Event) -> int:
    """Return how many things an event holds: one message may have thousands of calls."""
    if not isinstance(event, Step):
        return 1
    calls = event.calls
    return 1 + sum([1 + len(one.targets) + len(one.files) + len(one.inner) for one in calls])
