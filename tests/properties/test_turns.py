"""Turns, runs and all that follows agree with a computation that sees everything at once."""

from __future__ import annotations

import copy
import os
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.oracle.comparing import LABELS
from contract.oracle.model import Session
from contract.oracle.totals import of_sessions
from opencode_exporter.catalog import BY_NAME
from opencode_exporter.counting import keys
from opencode_exporter.counting.labels import Slots
from opencode_exporter.counting.series import Histogram, edges_of
from opencode_exporter.counting.tally import Tally
from opencode_exporter.counting.totals import changed_by
from opencode_exporter.counting.turns.cache import FIRST, Cache, Due
from opencode_exporter.counting.turns.conversations import Conversations
from opencode_exporter.counting.turns.state import Conversation
from opencode_exporter.events import Remark, Step, StepCall
from properties.talking import in_order, worlds

EXAMPLES: Final = int(os.environ.get("PROPERTY_EXAMPLES", "100"))
LATER_MS = 1_790_000_000_000 + 30 * 86_400_000
NOT_HERE = {"opencode_edit_lines_total", "opencode_file_operations_total", "opencode_todos"}
"""What needs the texts of calls, which are not made up."""


class Memory:
    """A shelf that keeps conversations as the ledger does, and nothing else."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[int, bytes]] = {}

    def conversations(self, keys: Iterable[int]) -> dict[int, Conversation]:
        """Return those that are there."""
        return {key: self._open(self.kept[key][1]) for key in keys if key in self.kept}

    def due(self, after: tuple[int, int], until: int, most: int) -> list[tuple[Due, Conversation]]:
        """Return some that are due, in order."""
        places = sorted((due, key) for key, (due, _) in self.kept.items() if due <= until)
        some = [place for place in places if place > after][:most]
        return [(place, self._open(self.kept[place[1]][1])) for place in some]

    @staticmethod
    def _open(data: bytes) -> Conversation:
        return msgspec.msgpack.decode(data, type=Conversation)


class Machine:
    """Takes rows in, restarting whenever it is told to."""

    def __init__(self) -> None:
        self._memory = Memory()
        self.tally = Tally()
        self.restart()

    def restart(self) -> None:
        """Begin anew with what is on the shelf."""
        self._cache = Cache(self._memory, lambda: LATER_MS)
        self._start_batch()

    def _start_batch(self) -> None:
        self.conversations = Conversations(
            self._cache,
            "salt",
            6 * 3_600_000,
            admit=lambda _: True,
            now=lambda: LATER_MS,
            tally_at=lambda _: self.tally,
        )

    def commit(self) -> None:
        """Put on the shelf what has changed."""
        for state in self.conversations.changed.values():
            kept = (self.conversations.due_of(state), msgspec.msgpack.encode(state))
            self._memory.kept[keys.session_key(state.id)] = kept
        self._start_batch()

    def take(self, event: Step | Remark) -> None:
        """Take in a row, over or not."""
        moved = self.conversations
        (moved.take_over if event.is_over else moved.take_open)(event, self.tally, counts=True)

    def settle(self) -> None:
        """Wait until nothing can come any more."""
        due: Due | None = FIRST
        while due is not None:
            due = self.conversations.settle(lambda _: True, due)
            self.commit()

    def shown(self) -> dict[str, dict[tuple[str, ...], Any]]:
        """Return the values of all metrics."""
        deltas = self.tally.fold(Slots(), lambda _label, _name: True)
        changed = changed_by(deltas, {}, 2000)
        return {name: dict(values) for name, values in changed.items() if name in LABELS}


def wanted(sessions: list[Session]) -> dict[str, dict[tuple[str, ...], Any]]:
    """Return what the computation expects, as the ledger keeps it."""
    found = {}
    for name, values in of_sessions(copy.deepcopy(sessions)).items():
        metric = BY_NAME[name]
        shown = {}
        for labels, value in values.items():
            if isinstance(value, list):
                shown[labels] = Histogram.of(value, edges_of(metric))
            elif value:
                shown[labels] = round(value * metric.scale)
        if shown and name not in NOT_HERE:
            found[name] = shown
    return found


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.booleans(), st.randoms(use_true_random=False))
def test_rows_one_by_one_give_what_all_at_once_give(
    sessions: list[Session], by_end: bool, chance: random.Random
) -> None:
    """As they lie on the disk or as they happen, with restarts between any two rows."""
    machine = Machine()
    for event in in_order(sessions, by_end=by_end):
        if chance.random() < 0.3:
            machine.commit()
            machine.restart()
        machine.take(event)
    machine.commit()
    machine.settle()
    assert wanted(sessions) == machine.shown()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_a_lost_step_counts_as_it_was_last_seen(sessions: list[Session]) -> None:
    """A step without an end is given up when another follows, or at last by patience."""
    machine = Machine()
    for event in in_order(sessions, by_end=False):
        if isinstance(event, Step) and not event.completed:
            calls = tuple(_still_open(call) for call in event.calls)
            event = msgspec.structs.replace(event, is_over=False, calls=calls)  # noqa: PLW2901
        machine.take(event)
    machine.commit()
    machine.settle()
    assert wanted(sessions) == machine.shown()


def _still_open(call: StepCall) -> StepCall:
    if call.status != "abandoned":
        return call
    return msgspec.structs.replace(call, status=None)


def test_nothing_is_made_up_of_nothing() -> None:
    """A machine without rows has no series."""
    machine = Machine()
    machine.settle()
    assert machine.shown() == Counter()
