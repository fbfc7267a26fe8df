"""
Measures: what a single step or remark says by itself.

Pure; goes into a tally.  What takes several rows to know is in `turns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from opencode_exporter import catalog as c
from opencode_exporter.catalog.vocabulary import is_edit
from opencode_exporter.counting.tally import Tally, tool_of
from opencode_exporter.events import ABANDONED, Remark, Step, StepCall
from opencode_exporter.times import lasted


def measure(tally: Tally, event: Step | Remark) -> None:
    """Count what a single row of a session tells: messages, tokens, cost, files."""
    measure_all(tally, (event,))


def measure_all(tally: Tally, events: Iterable[Step | Remark]) -> None:
    """Count what some rows tell, each by itself: of many at once at half the price."""
    groups: dict[tuple[str, ...], list[Step]] = {}
    for event in events:
        if isinstance(event, Remark):
            _measure_remark(tally, event)
            continue
        key = (event.agent, event.provider, event.model, event.finish, event.where.project)
        group = groups.get(key)
        if group is None:
            groups[key] = [event]
        else:
            group.append(event)
    for steps in groups.values():
        _measure_steps(tally, steps)


def _measure_steps(tally: Tally, steps: Sequence[Step]) -> None:
    """Count steps of one agent, model, finish and project: messages, tokens, cost and files."""
    tally.add(c.MESSAGES, "assistant", steps[0].agent, value=len(steps))
    _measure_use(tally, steps)
    _measure_finish(tally, steps)
    for step in steps:
        _measure_trouble(tally, step)
        for call in step.calls:
            _measure_edit(tally, step, call)
            _measure_files(tally, call)


def _measure_use(tally: Tally, events: Sequence[Step | Remark]) -> None:
    """Count tokens and cost of rows of one agent, model and project."""
    one = events[0]
    for uses in zip(*[event.tokens.by_type() for event in events], strict=True):
        if used := sum([number for _, number in uses if number > 0]):
            tally.add(c.TOKENS, one.provider, one.model, uses[0][0], value=used)
    if cost := sum([event.cost for event in events if event.cost > 0]):
        where = (one.provider, one.model, one.agent, one.where.project)
        tally.add(c.COST, *where, value=cost)


def _measure_finish(tally: Tally, steps: Sequence[Step]) -> None:
    """Count how steps of one model finished, if they did."""
    one = steps[0]
    if one.finish:
        model = (one.provider, one.model)
        tally.add(c.STEPS, *model, one.finish, value=len(steps))
        took = [lasted(step.created, step.completed) for step in steps]
        tally.observe_all(c.STEP_DURATION, took, *model)
        answered = [lasted(step.created, step.streamed) for step in steps]
        tally.observe_all(c.MODEL_RESPONSE, answered, *model)


def _measure_trouble(tally: Tally, step: Step) -> None:
    if step.error:
        tally.add(c.SESSION_ERRORS, step.error)
    if step.retries:
        tally.add(c.MODEL_RETRIES, step.provider, step.model, value=step.retries)


def _measure_edit(tally: Tally, step: Step, call: StepCall) -> None:
    if is_edit(call.tool):
        model = (step.provider, step.model)
        tally.add(c.EDIT_ATTEMPTS, tool_of(call), *model, call.status or ABANDONED)


def measure_late(tally: Tally, before: Step, late: Step) -> Step:
    """
    Count the rest of a step that ended after it had been given up, and return that rest.

    Its calls that were given up keep their status; what they have done counts.

    Args:
        tally: Where it is counted.
        before: The step as it was counted.
        late: The step as it ended.
    """
    more = _added(before, late)
    _measure_use(tally, [more])
    _measure_trouble(tally, more)
    _measure_finish(tally, [more])
    for call in late.calls[len(before.calls) :]:
        _measure_edit(tally, late, call)
    for call in more.calls:
        _measure_files(tally, call)
    return more


def _added(before: Step, late: Step) -> Step:
    """Return the difference between a step as it ended and as it was counted."""
    known = len(before.calls)
    return msgspec.structs.replace(
        late,
        finish="" if before.finish else late.finish,
        error="" if before.error else late.error,
        tokens=late.tokens.minus(before.tokens),
        cost=max(0, late.cost - before.cost),
        retries=max(0, late.retries - before.retries),
        calls=tuple(
            call
            for at, call in enumerate(late.calls)
            if at >= known or before.calls[at].status == ABANDONED != call.status
        ),
    )


def _measure_remark(tally: Tally, remark: Remark) -> None:
    """Count a remark: a message of the user, or a compaction with what it used."""
    if remark.role:
        tally.add(c.MESSAGES, remark.role, remark.agent)
    if remark.compaction:
        tally.add(c.COMPACTIONS, remark.compaction)
    _measure_use(tally, [remark])


def _measure_files(tally: Tally, call: StepCall) -> None:
    for file in call.files:
        tally.add(c.FILE_OPERATIONS, file.operation, file.language)
        if file.added > 0:
            tally.add(c.EDIT_LINES, "added", file.language, value=file.added)
        if file.removed > 0:
            tally.add(c.EDIT_LINES, "removed", file.language, value=file.removed)
