"""
Exactly once: whatever OpenCode writes, however it is read, wherever the exporter dies.

A machine that takes random steps: writes of OpenCode on a real file, polls whole,
cut short, overtaken by writes or killed between two statements, restarts, scrapes,
readings of everything anew.  After each it compares every single call with what it
knows to be true.  They are the same on every run; ``PROPERTY_EXAMPLES=2000`` runs so
many that are new instead, ``PROPERTY_STEPS=80`` makes them longer than usual.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from harness.exporters import Exposed, exposed
from harness.rereading import forget_cursors
from opencode_exporter import chunk as chunks
from opencode_exporter.service import source_poll
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.source.opencode import tailer
from opencode_exporter.source.opencode.tables import part_v1 as table_v1
from opencode_exporter.source.opencode.tables import session_message_v2 as table_v2
from properties import showing, taking
from properties.killing import Death, Killed
from properties.truth import State, Truth
from properties.working import Working, junk_rows, picks

EXAMPLES: Final = int(os.environ.get("PROPERTY_EXAMPLES", "40"))
STEPS: Final = int(os.environ.get("PROPERTY_STEPS", "40"))
DUE_MS: Final = 61_000  # then a poll looks at sleeping rows too


class Machine(Working):
    """OpenCode and an exporter, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.death = Death(self.bench.ledger)
        self.stack.enter_context(self.death.watching())
        self.exporter: Exporter | None = None
        self.shown: showing.Values = {}

    @initialize(
        chunk=st.sampled_from([1, 2, 3, 7, 1000]),
        commit=st.sampled_from([1, 3, 40_000]),
        anchors=st.sampled_from([1, 2, 32]),
    )
    def sized(self, chunk: int, commit: int, anchors: int) -> None:
        """Choose how much is read in a transaction, written in a commit, and remembered."""
        sizes = [(tailer, "CHUNK_ROWS", chunk), (source_poll, "_COMMIT_ROWS", commit)]
        sizes += [(module, "DENSE", anchors) for module in (chunks, table_v1, table_v2)]
        for module, name, size in sizes:
            self.stack.enter_context(patch.object(module, name, size))

    def _running(self) -> Exporter:
        if self.exporter is None:
            self.exporter = self.bench.exporter()
        return self.exporter

    def _look(self) -> Exposed:
        """Scrape, and compare."""
        assert self.exporter
        page = exposed(self.exporter)
        values = showing.growing(page)
        showing.never_falls(self.shown, values)
        self.shown = values
        if self.exporter.ledger.baseline_ms:
            showing.agrees(page)
            self.truth.observe(page)
            self.taking.observe(page)
            showing.lasts(page, self.world, self.truth)
            showing.messages_once(page, self.world)
        else:
            assert showing.CALLS not in page.samples
        return page

    @rule(due=st.booleans())
    def poll(self, *, due: bool) -> None:
        """Poll, and end."""
        self._advance(DUE_MS if due else 1_000)
        exporter = self._running()
        exporter.poll()
        self._went_well(exporter)
        self._polled(whole=True, due=due)
        running = self._look().total("opencode_tool_in_flight")
        least, most = self.truth.running()
        assert least <= running <= most, "calls run that do not, or the other way round"

    def _advance(self, ms: int) -> None:
        self.bench.clock.advance(ms=ms)
        self.world.pass_time(ms)
        self._agree_on_time()

    def _agree_on_time(self) -> None:
        """Let the exporter's clock go with OpenCode's, whose writes take time."""
        self.bench.clock.ms = max(self.bench.clock.ms, self.world.now)

    def _polled(self, *, whole: bool, due: bool = True) -> None:
        self.truth.polled(self.bench.clock.ms, whole=whole, due=due)
        self.taking.polled(whole=whole and due)

    def _went_well(self, exporter: Exporter) -> None:
        health = exporter.poller.health["opencode.db"]
        assert health.up, health.problem

    @precondition(lambda self: self._spoilable())
    @rule(pick=picks, data=junk_rows, quietly=st.booleans())
    def poll_while_spoiled(self, pick: int, data: str, *, quietly: bool) -> None:
        """Poll while a row that was open is unreadable, and mend it."""
        row = self._some(self._spoilable(), pick)
        self.world.spoil(row, data, quietly=quietly)
        self.poll(due=True)
        self.world.repair(row)

    @rule(chunks=st.integers(1, 6), restart=st.booleans())
    def poll_cut_short(self, chunks: int, *, restart: bool) -> None:
        """Poll, and be told to stop after some chunks."""
        self._agree_on_time()
        exporter = self._running()
        with self._at_chunk(exporter, chunks, exporter.poller.stop):
            exporter.poll()
        exporter.poller.stopping.clear()
        self._polled(whole=False)
        self._look()
        if restart:
            self._restart()

    @contextmanager
    def _at_chunk(
        self, exporter: Exporter, number: int, act: Callable[[], object]
    ) -> Iterator[None]:
        """Let something happen when a poll has taken in its n-th chunk."""
        apply, seen = exporter.ledger.apply, [0]

        def counting(source: str, chunk: Any) -> None:
            apply(source, chunk)
            seen[0] += 1
            if seen[0] == number:
                act()

        with patch.object(exporter.ledger, "apply", counting):
            yield

    @rule(
        chunks=st.integers(1, 4),
        pick=picks,
        what=st.lists(st.sampled_from(["step", "delete", "fork"]), min_size=1, max_size=3),
    )
    def poll_overtaken(self, chunks: int, pick: int, what: list[str]) -> None:
        """Poll while OpenCode writes, deletes and gives rowids again."""
        self._agree_on_time()
        exporter = self._running()

        def act() -> None:
            self._polled(whole=False)
            for each in what:
                if each == "step":
                    new = bool(pick % 2)
                    self.step(pick=pick, ids=["call_0"], ends="completed", new=new, over=True)
                elif each == "delete" and self.world.sessions:
                    self.delete(0)
                elif each == "fork" and self._forkable():
                    self.fork(pick)
            self._agree_on_time()

        with self._at_chunk(exporter, chunks, act):
            exporter.poll()
        self._polled(whole=False)
        self._look()

    @rule(steps=st.integers(1, 150), on_ledger=st.booleans())
    def poll_killed(self, steps: int, *, on_ledger: bool) -> None:
        """Start if need be, poll, and be killed between two statements or rows."""
        self._advance(DUE_MS)
        try:
            with self.death.after(1 + steps // (1 + 2 * on_ledger), on_ledger=on_ledger):
                self._running().poll()
        except Killed:
            pass
        if not self.death.came:
            assert self.exporter
            self._went_well(self.exporter)
            self._polled(whole=True)
        else:
            self.exporter = None
            self.death.bury()
            self._polled(whole=False)
            self._running()
        self._look()

    @precondition(lambda self: self.exporter)
    @rule()
    def restart(self) -> None:
        """End and start again on the same ledger."""
        self._restart()
        self._running()
        self._look()

    def _restart(self) -> None:
        if self.exporter:
            self.exporter.close()
        self.exporter = None

    @rule()
    def read_everything_again(self) -> None:
        """Forget how far the source was read: nothing changes."""
        self.poll(due=True)
        before = showing.counts(self._look())
        self._restart()
        forget_cursors(self.bench.ledger)
        self.poll(due=True)
        after = showing.counts(self._look())
        assert after == before, set(after.items()) ^ set(before.items())

    # In the end.

    def teardown(self) -> None:
        """Let everything come to rest, and compare with one read of everything."""
        try:
            if sys.exc_info()[0] is None and hasattr(self, "world"):
                self._finish()
        finally:
            self._restart()
            if hasattr(self, "world"):
                self.world.close()
            self.stack.close()

    def _finish(self) -> None:
        for row in self.world.spoiled():  # who reads them now takes copies for originals
            self.world.repair(row)
        self.read_everything_again()
        self.bench.clock.advance(ms=1)
        fresh = Truth(self.world)
        fresh.polled(self.bench.clock.ms, whole=True)
        anew = self.bench.read_once()
        fresh.observe(anew)
        junk = sum(
            step.is_junk + step.junk_parts for each in self.world.sessions for step in each.steps
        )
        assert anew.total("opencode_exporter_rows_rejected_total") == junk
        showing.messages_once(anew, self.world)
        if not self.world.deletions:
            told = exposed(self._running()).by("opencode_messages_total", "role")
            for role, count in anew.by("opencode_messages_total", "role").items():
                assert told[role] >= count, f"messages of {role} were lost"
            for call, states in fresh.states.items():
                kinds = {state.kind for state in states}
                # What was given up and then moved after all is open to who comes later.
                known = self.truth.states[call] - {State("counted", "abandoned")}
                assert kinds >= {state.kind for state in known}, call
            self._equals_once()

    def _equals_once(self) -> None:
        """Compare what steps say with a reading of everything, when all is given up."""
        self.night()
        self.poll(due=True)
        told, anew = exposed(self._running()), self.bench.read_once()
        for name, values in taking.all_said(anew).items():
            assert taking.all_said(told)[name] == pytest.approx(values), name


@pytest.mark.slow
def test_every_call_counts_exactly_once() -> None:
    """Any writes, any polls, any deaths: each call counts once, and no value ever falls."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
