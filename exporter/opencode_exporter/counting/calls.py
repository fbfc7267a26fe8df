"""
Call sums: calls and skill loads that were counted become deltas on series.

Pure: no disk, no clock.  Events are first summed by what they have in common,
so that the labels of many equal ones are looked up once, and labels are made
when the sums are folded, by the rules of `labels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from opencode_exporter import catalog as c
from opencode_exporter.counting.labels import Slots, clean
from opencode_exporter.counting.series import Delta, Histogram, edges_of
from opencode_exporter.events import (
    COMPLETED,
    ERROR,
    MODEL,
    OVERFLOW,
    UNKNOWN,
    USER,
    Invocation,
    UserSkillLoad,
)

EDGES_MS: Final = edges_of(c.TOOL_DURATION)
_TOGETHER: Final = 1000
_TIMED: Final = frozenset((COMPLETED, ERROR))
_GEN_AI_OTHER: Final = "_OTHER"


ToolKey = tuple[str, bool, str, str, str, str]
"""Tool, whether the source vouches for its name, agent, project, status and reason."""


class ToolSum(msgspec.Struct, gc=False, array_like=True):
    """Invocations that share a `ToolKey`; times in ms, sizes in bytes."""

    count: int = 0
    durations: Histogram | None = None
    waits: Histogram | None = None
    exits: dict[tuple[str, str], int] = {}  # msgspec copies empty defaults
    output: int = 0
    truncated: int = 0

    @classmethod
    def of(cls, events: list[Invocation], *, timed: bool) -> ToolSum:
        """Return the sum of some invocations: many at once cost half of one by one."""
        return cls(
            len(events),
            durations([event.duration for event in events]) if timed else None,
            durations([event.wait for event in events]),
            Counter([(event.program, event.exit) for event in events if event.exit]),
            sum([event.output_bytes for event in events]),
            sum([event.truncated for event in events]),
        )

    def absorb(self, other: ToolSum) -> None:
        """Add another sum of the same key."""
        self.count += other.count
        self.durations = _added(self.durations, other.durations)
        self.waits = _added(self.waits, other.waits)
        for ended, calls in other.exits.items():
            self.exits[ended] = self.exits.get(ended, 0) + calls
        self.output += other.output
        self.truncated += other.truncated


class _SkillSum:
    """Skill loads that share name, trigger, status, agent and project."""

    __slots__ = ("content", "count", "first", "last", "reasons", "reloads", "sessions", "times")

    def __init__(self) -> None:
        self.count = self.sessions = self.reloads = self.content = 0
        self.times: list[int] = []
        self.reasons: dict[str, int] = {}
        self.first = self.last = 0


def durations(times: list[int]) -> Histogram | None:
    """Return a histogram of durations, ms; negative ones are none."""
    measured = [time for time in times if time >= 0]
    return Histogram.of(measured, EDGES_MS) if measured else None


def error_type(status: str, reason: str) -> str:
    """Return ``error.type`` of the GenAI conventions; empty without an error."""
    return _GEN_AI_OTHER if status == ERROR and reason in ("", "other") else reason


def _added(one: Histogram | None, other: Histogram | None) -> Histogram | None:
    return one.plus(other) if one and other else one or other


class CallSums:
    """The sums of calls and skill loads that are counted together."""

    def __init__(self) -> None:
        self._waiting: list[Invocation] = []
        self._tools: dict[ToolKey, ToolSum] = {}
        self._skills: dict[tuple[str, str, str, str, str], _SkillSum] = {}

    def count_call(self, event: Invocation) -> None:
        """Count an invocation that has ended."""
        self.count_calls([event])

    def count_calls(self, events: Iterable[Invocation]) -> None:
        """Count invocations that have ended."""
        self._waiting += events
        if len(self._waiting) >= _TOGETHER:
            self.by_tool()

    def by_tool(self) -> dict[ToolKey, ToolSum]:
        """Return the sums of all invocations."""
        groups: dict[ToolKey, list[Invocation]] = {}
        for event in self._waiting:
            status = event.status or ""
            key = (event.tool, event.vouched, event.agent, event.project, status, event.reason)
            group = groups.get(key)
            if group is None:
                groups[key] = [event]
            else:
                group.append(event)
        self._waiting = []
        self.absorb(
            (key, ToolSum.of(events, timed=key[4] in _TIMED)) for key, events in groups.items()
        )
        return self._tools

    def absorb(self, sums: Iterable[tuple[ToolKey, ToolSum]]) -> None:
        """Add sums of invocations that another process has made."""
        for key, more in sums:
            total = self._tools.get(key)
            if total is None:
                self._tools[key] = more
            else:
                total.absorb(more)

    def count_skill_load(
        self, event: Invocation | UserSkillLoad, *, first_in_session: bool | None
    ) -> None:
        """
        Count a skill load that has ended.

        Args:
            event: The load, by the model or by the user.
            first_in_session: None where it did not load (denied, error, …).
        """
        if isinstance(event, UserSkillLoad):
            name, trigger, status = event.skill, USER, COMPLETED
            duration, reason, at, size = -1, "", event.at, event.content_bytes
        else:
            name, trigger, status = event.skill or "", MODEL, event.status or ""
            duration, reason, at = event.duration, event.reason, event.started
            size = event.output_bytes
        key = (name, trigger, event.agent, event.project, status)
        total = self._skills.setdefault(key, _SkillSum())
        total.count += 1
        if duration >= 0 and status in _TIMED:
            total.times.append(duration)
        if reason:
            total.reasons[reason] = total.reasons.get(reason, 0) + 1
        if first_in_session is None:
            return
        total.sessions += first_in_session
        total.reloads += not first_in_session
        total.content += size
        total.first = min(total.first or at, at)
        total.last = max(total.last, at)

    def fold(self, slots: Slots, is_known: Callable[[str, str], bool]) -> Iterator[Delta]:
        """
        Yield what the sums add to each series.

        Args:
            slots: Which names may be labels; new ones take their slots here.
            is_known: Whether a name that the source does not vouch for is real,
                by label ("tool", "skill") and name.
        """
        # Loads that completed first: they make their skill's name known.
        for key in sorted(self._skills, key=lambda key: key[4] != COMPLETED):
            yield from _fold_skill(key, self._skills[key], slots, is_known)
        # Those that the source vouches for first: they show which of the others are real.
        for tool, total in sorted(self.by_tool().items(), key=lambda item: not item[0][1]):
            yield from _fold_tool(tool, total, slots, is_known)


def _fold_tool(
    key: ToolKey,
    total: ToolSum,
    slots: Slots,
    is_known: Callable[[str, str], bool],
) -> Iterator[Delta]:
    name, vouched, agent, project, status, reason = key
    count = total.count
    name = clean(name)
    real = vouched or slots.holds("tool", name) or is_known("tool", name)
    tool = slots.take("tool", name) if real else UNKNOWN
    where = (slots.take("agent", clean(agent)), slots.take("project", clean(project)))
    cut = tool == OVERFLOW
    yield Delta(c.TOOL_INVOCATIONS, (tool, status), count, count, cut)
    yield Delta(c.TOOL_USAGE, (tool, *where, status), count, count, cut or OVERFLOW in where)
    if total.durations:
        yield Delta(c.TOOL_DURATION, (tool, status), total.durations, count, cut)
        executed = (tool, where[0], error_type(status, reason))
        coarse = total.durations.coarse(len(c.EXECUTE_TOOL.buckets))
        yield Delta(c.EXECUTE_TOOL, executed, coarse, count, cut or where[0] == OVERFLOW)
    if total.waits:
        yield Delta(c.TOOL_WAIT, (tool,), total.waits, count, cut)
    if reason:
        yield Delta(c.TOOL_ERRORS, (tool, reason), count, count, cut)
    if total.output:
        yield Delta(c.TOOL_OUTPUT, (tool,), total.output, count, cut)
    if total.truncated:
        yield Delta(c.TOOL_TRUNCATED, (tool,), total.truncated, total.truncated, cut)
    for (program, how), calls in total.exits.items():
        shown = slots.take("program", program)
        yield Delta(c.SHELL_EXITS, (shown, how), calls, calls, shown != program)


def _fold_skill(
    key: tuple[str, str, str, str, str],
    total: _SkillSum,
    slots: Slots,
    is_known: Callable[[str, str], bool],
) -> Iterator[Delta]:
    name, trigger, agent, project, status = key
    count = total.count
    name = clean(name)
    real = status == COMPLETED or slots.holds("skill", name) or is_known("skill", name)
    skill = slots.take("skill", name) if real else UNKNOWN
    where = (slots.take("agent", clean(agent)), slots.take("project", clean(project)))
    cut = skill == OVERFLOW
    usage = (skill, trigger, *where, status)
    yield Delta(c.SKILL_INVOCATIONS, (skill, status), count, count, cut)
    yield Delta(c.SKILL_USAGE, usage, count, count, cut or OVERFLOW in where)
    if times := durations(total.times):
        yield Delta(c.SKILL_DURATION, (skill, status), times, count, cut)
    for reason, errors in total.reasons.items():
        yield Delta(c.SKILL_ERRORS, (skill, reason), errors, errors, cut)
    if total.sessions:
        yield Delta(c.SKILL_SESSIONS, (skill,), total.sessions, total.sessions, cut)
    if total.reloads:
        yield Delta(c.SKILL_RELOADS, (skill,), total.reloads, total.reloads, cut)
    if total.content:
        yield Delta(c.SKILL_CONTENT, (skill,), total.content, count, cut)
    if total.first > 0 and not cut and skill != UNKNOWN:
        yield Delta(c.SKILL_FIRST_USED, (skill,), total.first, 1)
        yield Delta(c.SKILL_LAST_USED, (skill,), total.last, 1)
