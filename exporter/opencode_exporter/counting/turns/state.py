"""
Conversation: what must be known of a session to make turns of its next rows.

Plain data, kept in the ledger; bounded by what is open.  Of files, commands and the
like only hashes are in it.  Times are Unix milliseconds, 0 for none.
"""

from __future__ import annotations

from typing import Final

import msgspec

from opencode_exporter.events import SessionRow, Step, Tokens

ROOT: Final = "root"
SUBAGENT: Final = "subagent"
FORK: Final = "fork"
SESSION_KINDS: Final = (ROOT, SUBAGENT, FORK)


class Work(msgspec.Struct, omit_defaults=True):
    """Tokens, cost and calls outside skill runs; they may belong to a run further up."""

    tokens: Tokens = Tokens()
    cost: int = 0
    calls: list[tuple[str, str, int]] = []  # tool, status, how many
    retries: int = 0

    def absorb(self, other: Work) -> None:
        """Add the tokens, cost and calls of other work."""
        self.tokens = self.tokens.plus(other.tokens)
        self.cost += other.cost
        self.retries += other.retries
        calls = {(tool, status): count for tool, status, count in self.calls}
        for tool, status, count in other.calls:
            calls[tool, status] = calls.get((tool, status), 0) + count
        self.calls = [(*name, count) for name, count in calls.items()]


class Run(msgspec.Struct, omit_defaults=True):
    """A skill run that is open."""

    skill: str
    agent: str
    begun: int = 0  # end of the load


class Change(msgspec.Struct, array_like=True):
    """Attempts on a file that have not succeeded yet."""

    attempts: int
    tool: str


class Turn(msgspec.Struct, omit_defaults=True):
    """A turn that is open, after its first step."""

    start: int
    agent: str
    tells_end: bool = False  # its last step tells whether it goes on; else a remark does
    parent: str = ""  # id of the human message that it answers
    last: str = ""  # id of its last step
    last_finish: str = ""
    last_error: str = ""
    last_refused: bool = False
    last_completed: int = 0
    last_streamed: int = 0
    last_output: int = 0  # tokens
    last_calls: bool = False  # it holds calls that OpenCode runs: more was to come
    waits: bool = False  # what follows tells whether its last step was the last
    compacted: bool = False  # after its last step: a synthetic message takes its place
    run: Run | None = None
    said: list[tuple[int, str]] = []  # skills that the user invoked since the last step
    failed: dict[int, bool] = {}  # targets whose latest attempt failed, oldest first
    changes: dict[int, Change] = {}  # by file: attempts since the last success
    changed: set[int] = set()  # files with a success
    loose: Work = msgspec.field(default_factory=Work)


class Call(msgspec.Struct, array_like=True):
    """A call that started a sub-agent, and the run that the sub-agent's work belongs to."""

    started: int
    ended: int
    skill: str  # of the run around it, or nothing
    inside: bool  # no run, but it is in a sub-agent's turn, which may be in one


class Asked(msgspec.Struct, array_like=True):
    """A human message that no step has answered yet."""

    message: str
    at: int


class Lost(msgspec.Struct, array_like=True):
    """A step that was given up, as it was counted, and the skill of the run it was in."""

    step: Step
    skill: str = ""


class Held(msgspec.Struct, array_like=True):
    """Work of a sub-agent's turn whose starting call is not known yet."""

    start: int
    work: Work


class Conversation(msgspec.Struct, omit_defaults=True):
    """The state of one session."""

    id: str
    kind: str = ""  # empty until its first message
    parent: str = ""
    last: int = 0  # newest time of a row
    muted: bool = False  # what happens in it does not count
    invocations: int = 0
    observed: bool = False  # its invocations have been counted as a session's
    asked: list[Asked] = []
    said: list[tuple[int, str]] = []  # skills invoked with those messages
    turn: Turn | None = None
    last_skill: str = ""
    loads: list[tuple[int, str]] = []  # after it, in this poll: time and skill
    fresh: list[str] = []  # skills loaded since the last step with a call
    queue: list[SessionRow] = []  # rows behind one that is not over, that one first
    lost: list[Lost] = []
    caller: Call | None = None  # of a sub-agent's session: the last that started it
    held: list[Held] = []

    @property
    def is_open(self) -> bool:
        """Whether something of it waits for an end."""
        return bool(self.turn or self.queue or self.held)

    @property
    def has_open(self) -> bool:
        """Whether a row of it is not over."""
        return any(not row.is_over for row in self.queue)

    def find(self, message: str) -> int:
        """Return the place of a row in the queue, -1 if it is not there."""
        return next((at for at, row in enumerate(self.queue) if row.message == message), -1)
