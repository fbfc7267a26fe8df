"""
Attempts: retries, and changes that take more than one try, within a turn.

Pure.  Files, commands and URLs are known by salted hashes only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opencode_exporter.bits import hashed
from opencode_exporter.catalog.vocabulary import is_edit
from opencode_exporter.counting.turns.state import Change, Turn
from opencode_exporter.events import COMPLETED, ERROR, Step, StepCall

_MOST: Final = 4096
"""Targets of one turn that are kept in mind; beyond, the oldest are forgotten."""


def retries(turn: Turn, step: Step, salt: str) -> list[StepCall]:
    """
    Return the calls of a step that are retries; note which targets have failed.

    A retry has the tool and the target of a call in an earlier step of the turn, whose
    latest attempt failed.  Of a patch, one file suffices.
    """
    if not turn.failed and not any(call.failed for call in step.calls):
        return []  # nearly all: nothing can be a retry, now or later
    here: dict[int, bool] = {}
    found = []
    for call in step.calls:
        about = [hashed(f"{salt} {call.tool} {target}") for target in call.targets]
        if any(turn.failed.get(key) for key in about):
            found.append(call)
        here |= dict.fromkeys(about, call.failed)
    for key, failed in here.items():
        if failed:
            turn.failed[key] = True
        else:
            turn.failed.pop(key, None)
    while len(turn.failed) > _MOST:
        del turn.failed[next(iter(turn.failed))]
    return found


def note_changes(turn: Turn, step: Step, salt: str) -> Iterator[tuple[str, int]]:
    """
    Yield tool and number of attempts of each change that a step brought about.

    Attempts of all edit tools on a file count together, under the tool of the last.  One
    that was denied, aborted or abandoned tried nothing.
    """
    for call in step.calls:
        if not is_edit(call.tool) or call.status not in (COMPLETED, ERROR):
            continue
        for target in call.targets:
            file = hashed(f"{salt} {target}")
            before = turn.changes.pop(file, None)
            attempts = before.attempts + 1 if before else 1
            if call.status == COMPLETED:
                turn.changed.add(file)
                yield call.tool, attempts
            elif len(turn.changes) < _MOST:
                turn.changes[file] = Change(attempts, call.tool)


def abandoned_changes(turn: Turn) -> list[str]:
    """Return the tool of the last attempt for each file on which all attempts failed."""
    return [change.tool for file, change in turn.changes.items() if file not in turn.changed]
