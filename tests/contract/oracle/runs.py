"""
Skill runs, transitions, next tools and retries.

"After a skill is loaded, the *steps* that follow in that turn belong to its run, with
their calls, tokens and cost, until a step that loads another skill, or the end of the
turn."
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from posixpath import join, normpath

from contract.oracle.model import Call, Moment, Row, Session, took
from contract.oracle.tools import CATEGORIES
from contract.oracle.turns import Turn
from contract.oracle.values import objs, word

_NEVER = 1 << 62


@dataclass(eq=False)
class Run:
    """
    A run that closed.

    Attributes:
        agent: Choice: of the step that loaded the skill; of the first step of the run
            for a skill that the user invoked.
        outcome: That of the turn; choice: ``succeeded`` when another load closed it.
        duration: "From the load's end to the close", ms.  Choices: the close is the
            turn's end, or the beginning of the step that loads the next skill; none
            for a turn without an end, or where the clock was set in between.
        steps: Those of sub-agents that belong to it included.
    """

    skill: str
    agent: str
    begun: Moment
    outcome: str = "succeeded"
    duration: Moment = None
    steps: list[Row] = field(default_factory=list)

    def close(self, at: Moment, turn: Turn, outcome: str = "succeeded") -> None:
        """End the run of a turn at a moment, None if that is not known."""
        self.outcome, self.duration = outcome, took(self.begun, at, turn.session.now)


@dataclass
class Runs:
    """All runs, and the steps that belong to each: to one run at most."""

    runs: list[Run] = field(default_factory=list)
    of_step: dict[str, Run] = field(default_factory=dict)
    unattributed: int = 0


def skill_runs(turns: list[Turn]) -> Runs:
    """
    Return the runs of all turns of all sessions.

    "Work of a sub-agent belongs to the innermost run only; a child *turn* belongs to
    the call that started its session, also when it goes on after that call has ended
    (background sub-agents), whatever the times say": a step of a child's turn outside its
    own runs belongs to the run around that call, however deep.
    """
    found = Runs()
    for turn in turns:
        found.runs += _own_runs(turn)
    for run in found.runs:
        for step in run.steps:
            found.of_step[step.message] = run
    own = dict(found.of_step)
    starters = _starters(turns)
    for turn in turns:
        if not turn.session.parent:
            continue
        call = _starter(turn, starters)
        found.unattributed += call is None
        around, seen = None, set[str]()
        while call is not None and around is None and call.message not in seen:
            seen.add(call.message)
            around = own.get(call.message)
            above = next((one for one in turns if _holds(one, call)), None)
            call = _starter(above, starters) if above and above.session.parent else None
        for step in turn.steps:
            if around is not None and step.message not in own:
                found.of_step[step.message] = around
                around.steps.append(step)
    return found


def _own_runs(turn: Turn) -> list[Run]:
    """
    Return the runs of one turn, with the steps of its own session.

    "Several loads in one step: the last owns the following steps, the others close at
    once, counted, without a duration.  A user-invoked skill opens a run at the next
    step."  Choices: a load of the same skill again closes the run and opens another;
    only a completed load opens one; the step that loads belongs to no run of its own
    turn (a run goes *until* it, and the next has the steps that *follow*); a skill that
    the user invokes and that no step follows opens none.
    """
    made: list[Run] = []
    current: Run | None = None
    for place, step in enumerate(turn.steps):
        said = [Run(skill, step.agent, at) for before, at, skill in turn.said if before == place]
        if said:
            if current is not None:
                current.close(step.created, turn)
            made += said
            current = said[-1]
        loads = [Run(one.skill, step.agent, one.ended) for one in step.loads]
        if loads:
            if current is not None:
                current.close(step.created, turn)
            made += loads
            current = loads[-1]
        elif current is not None:
            current.steps.append(step)
    if current is not None:
        current.close(turn.end, turn, turn.outcome)
    return made


def _starters(turns: list[Turn]) -> dict[str, list[Call]]:
    """Return the calls that started each child session, by what they recorded of it."""
    found = defaultdict(list)
    for turn in turns:
        for step in turn.steps:
            for call in step.calls:
                if call.child:
                    found[call.child].append(call)
    return found


def _starter(turn: Turn, starters: dict[str, list[Call]]) -> Call | None:
    """
    Return the call that started a child's turn.

    Choice: of the calls that name its session, the last that began before the turn
    (one child can be asked again); the first where the clock says that none did.
    """
    calls = starters.get(turn.session.id, [])
    before = [call for call in calls if (call.started or _NEVER) <= turn.start]
    return before[-1] if before else next(iter(calls), None)


def _holds(turn: Turn, call: Call) -> bool:
    return turn.session.id == call.session and any(
        step.message == call.message for step in turn.steps
    )


def targets(call: Call, directory: str) -> tuple[str, ...]:
    """
    Return what a call is about: "target (file, skill, URL, command)".

    Choices: files for the tools that read and edit, absolute and normalized; all files
    of a patch, those that it recorded where its text names none; the skill's name as it
    was asked for, the URL of ``webfetch``, the command's text; no target, so no retry,
    for all other tools.
    """
    given = call.given
    match CATEGORIES.get(call.tool):
        case "skill":
            named = given.get("name"), given.get("id")
        case "shell":
            named = given.get("command"), None
        case "web":
            named = given.get("url"), None
        case "read" | "edit":
            if call.tool == "patch":
                named_files = list(_patched(given)) or list(_recorded(call))
                return tuple(sorted(_absolute(name, directory) for name in named_files))
            path = next((p for p in _paths(given) if isinstance(p, str) and p), None)
            named = None if path is None else _absolute(path, directory), None
        case _:
            named = None, None
    return tuple(name for name in named if isinstance(name, str) and name)[:1]


def _paths(given: dict[str, object]) -> tuple[object, object]:
    return given.get("filePath"), given.get("path")


def _absolute(path: str, directory: str) -> str:
    return normpath(join(directory, path))


def _patched(given: dict[str, object]) -> Iterator[str]:
    """Return the files that the text of a patch names."""
    for line in str(given.get("patchText") or "").splitlines():
        for head in ("*** Add File: ", "*** Update File: ", "*** Delete File: "):
            if line.startswith(head):
                yield line.removeprefix(head).strip()


def _recorded(call: Call) -> Iterator[str]:
    """Return the files that a patch has changed."""
    for file in objs(call.meta.get("files")):
        yield word(file.get("filePath"), file.get("file"), file.get("relativePath"))


def retries(turn: Turn) -> list[tuple[Row, Call]]:
    """
    Return the calls of a turn that are retries, with their steps.

    "A call in a later step of the turn, same tool and same target, whose latest attempt
    ended `error` or exited non-zero."  Choices: the latest attempt is the last call of
    the latest earlier step that has one; a timeout without an exit code, a denied, an
    aborted and an abandoned attempt make no retry; of a patch, one file suffices; a
    child's turn is a turn of its own.
    """
    latest: dict[tuple[str, str], bool] = {}
    found: list[tuple[Row, Call]] = []
    for step in turn.steps:
        here: dict[tuple[str, str], bool] = {}
        for call in step.calls:
            about = [(call.tool, one) for one in targets(call, turn.session.directory)]
            if any(latest.get(key) for key in about):
                found.append((step, call))
            here |= dict.fromkeys(about, call.failed)
        latest |= here
    return found


def transitions(session: Session) -> list[tuple[str, str]]:
    """
    Return pairs of skills: "the next skill loaded in the same session".

    Choices: completed loads in the order of the rows, the user's among them, across
    turns; a load of the same skill is a pair too; what a fork copied is not the fork's.
    """
    loaded: list[str] = []
    for row in session.rows:
        loaded += row.skills
        loaded += [call.skill for call in row.loads]
    return list(pairwise(loaded))


def next_tools(session: Session) -> list[tuple[str, str]]:
    """
    Return pairs of a skill and "the first tool called after a load".

    Choices: by step, as runs are: the first call of the first later step of the session
    that calls any, whatever became of it and in whichever turn; several loads before it
    have the same one.
    """
    found: list[tuple[str, str]] = []
    waiting: list[str] = []
    for row in session.rows:
        waiting += row.skills
        if row.calls:
            found += [(skill, row.calls[0].tool) for skill in waiting]
            waiting = [call.skill for call in row.loads]
    return found
