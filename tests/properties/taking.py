"""
What steps of the model must have added: tokens, cost, their finish, lines of edits.

Follows each step on its own.  What a step says counts once, however often its row was
given up or copied before; until it is over, it may count or not.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

from harness.exporters import Exposed
from properties.account import Call, Work
from properties.opencode import OpenCode

TOKENS: Final = "opencode_tokens_total"
COST: Final = "opencode_cost_usd_total"
STEPS: Final = "opencode_steps_total"
LINES: Final = "opencode_edit_lines_total"


class Taking:
    """
    What one ledger must hold of steps.

    Args:
        world: What happens.
    """

    def __init__(self, world: OpenCode) -> None:
        self._world = world
        self._said: set[Work] = set()
        self._over: set[Work] = set()
        self._sure: set[Work] = set()
        self._edited: set[Call] = set()
        self._surely_edited: set[Call] = set()

    def polled(self, *, whole: bool) -> None:
        """
        Take in that a poll has been.

        Args:
            whole: It read everything, also what hardly ever changes, and ended.
        """
        steps = [step for session in self._world.sessions for step in session.steps]
        for step in steps:
            if step.work is None:
                continue
            if step.said:
                self._said.add(step.work)
            edits = {told.call for told in step.told if told.added}
            self._edited |= edits
            if step.completed is None or not step.said:  # or the next one has completed it
                continue
            self._over.add(step.work)
            # One that was imported again may be what another row has stood in for.
            at_home = step.original and not any(told.moved for told in step.told)
            if whole and at_home and step.kept is None:
                self._sure.add(step.work)
                self._surely_edited |= edits

    def observe(self, page: Exposed) -> None:
        """Compare every step with a page."""
        tokens = _by_cell(page, TOKENS, "token_type")
        costs = _by_cell(page, COST)
        ends = _by_cell(page, STEPS, "finish")
        for work in self._world.works:
            sure = work in self._sure
            least: dict[Any, float] = {}
            for found, full, said in (
                (tokens, {(kind,): n for kind, n in work.tokens.items()}, self._said),
                (costs, {(): work.cost}, self._said),
                (ends, {(work.finish,): 1}, self._over),
            ):
                shown = found.pop(work.cell, {})
                allowed = [full] if sure else [least, full] if work in said else [least]
                assert any(shown == pytest.approx(one) for one in allowed), (
                    f"{work} is counted as {shown}, not as one of {allowed}"
                )
        assert not tokens | costs | ends, f"counted, and never said: {tokens | costs | ends}"
        added = page.total(LINES)
        few, many = (sum(call.duration for call in calls) for calls in self._edits())
        assert few <= added <= many, f"{added} lines were added, not {few} to {many}"

    def _edits(self) -> tuple[set[Call], set[Call]]:
        return self._surely_edited, self._edited


def _by_cell(page: Exposed, name: str, *labels: str) -> dict[tuple[str, ...], dict[Any, float]]:
    """Return the values of a metric by provider and model, and by the other labels."""
    found: dict[tuple[str, ...], dict[Any, float]] = {}
    for (provider, model, *rest), value in page.by(name, "provider", "model", *labels).items():
        found.setdefault((provider, model), {})[tuple(rest)] = value
    return found


def all_said(page: Exposed) -> dict[str, Counter[tuple[str, ...]]]:
    """Return what a page shows of steps, to be compared with another page."""
    labels = {
        TOKENS: ("provider", "model", "token_type"),
        COST: ("provider", "model", "agent", "project"),
        STEPS: ("provider", "model", "finish"),
        LINES: ("change", "language"),
    }
    return {name: page.by(name, *wanted) for name, wanted in labels.items()}
