"""
Measures: what a single step or remark says by itself.

Pure; goes into a tally.  What takes several rows to know is in `turns`.
"""

from __future__ import annotations

from opencode_exporter import catalog as c
from opencode_exporter.events import ABANDONED, Remark, Step, StepCall
from opencode_exporter.turns.attempts import is_edit
from opencode_exporter.turns.tally import Tally, tool_of


def measure(tally: Tally, event: Step | Remark) -> None:
    """Count what a row of a session says by itself."""
    if isinstance(event, Step):
        _measure_step(tally, event)
    else:
        _measure_remark(tally, event)


def _measure_step(tally: Tally, step: Step) -> None:
    """Count a step: its message, model, tokens, cost and files."""
    tally.add(c.MESSAGES, "assistant", step.agent)
    _measure_use(tally, step)
    if step.error:
        tally.add(c.SESSION_ERRORS, step.error)
    model = (step.provider, step.model)
    if step.retries:
        tally.add(c.MODEL_RETRIES, *model, value=step.retries)
    if step.finish:
        tally.add(c.STEPS, *model, step.finish)
        if step.completed >= step.created:
            tally.observe(c.STEP_DURATION, step.completed - step.created, *model)
        if step.streamed >= step.created:
            tally.observe(c.MODEL_RESPONSE, step.streamed - step.created, *model)
    for call in step.calls:
        if is_edit(call):
            tally.add(c.EDIT_ATTEMPTS, tool_of(call), *model, call.status or ABANDONED)
        _measure_files(tally, call)


def _measure_remark(tally: Tally, remark: Remark) -> None:
    """Count what is no step: the user's messages, compactions and what they used."""
    if remark.role:
        tally.add(c.MESSAGES, remark.role, remark.agent)
    if remark.compaction:
        tally.add(c.COMPACTIONS, remark.compaction)
    _measure_use(tally, remark)


def _measure_use(tally: Tally, event: Step | Remark) -> None:
    for kind, used in event.tokens.by_type():
        if used > 0:
            tally.add(c.TOKENS, event.provider, event.model, kind, value=used)
    if event.cost > 0:
        where = (event.provider, event.model, event.agent, event.where.project)
        tally.add(c.COST, *where, value=event.cost)


def _measure_files(tally: Tally, call: StepCall) -> None:
    for file in call.files:
        tally.add(c.FILE_OPERATIONS, file.operation, file.language)
        if file.added > 0:
            tally.add(c.EDIT_LINES, "added", file.language, value=file.added)
        if file.removed > 0:
            tally.add(c.EDIT_LINES, "removed", file.language, value=file.removed)
