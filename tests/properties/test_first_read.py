"""A first read that OpenCode overtakes: what was there all along counts once, and so does all else.

Between any two chunks rows are deleted, written, given the rowids of others, and a page
is damaged, whether one process reads or others read ahead of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.clock import FakeClock
from harness.exporters import Bench
from opencode_exporter import catalog as c
from opencode_exporter import chunk as chunks
from opencode_exporter.chunk import Chunk
from opencode_exporter.counting.summary import SummedChunk
from opencode_exporter.events import Invocation, Step, Tokens
from opencode_exporter.service import read_ahead, source_poll
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.source.opencode import tailer
from opencode_exporter.source.opencode.tables import part_v1
from properties.held import held_back
from properties.history import KINDS, REST_MS, History, cell, written

EXAMPLES: Final = int(os.environ.get("PROPERTY_EXAMPLES", "80"))
PLACES: Final = {
    "a page of parts": ("part", "leaf"),
    "a page of messages": ("message", "leaf"),
    "a page of the index of parts by message": ("part_message_id_id_idx", "leaf"),
    "a page of the index of messages": ("sqlite_autoindex_message_1", "leaf"),
    "a page of a long part": ("part", "overflow"),
}
Cell = tuple[str, str]
Series = dict[str, dict[tuple[str, ...], Any]]


class Taken:
    """What an exporter has taken in, whether it was still there in the end or not."""

    def __init__(self) -> None:
        self.calls: set[Cell] = set()
        self.steps: dict[Cell, list[Tokens]] = {}

    def take(self, chunk: Chunk) -> None:
        """Note what a chunk holds."""
        events: list[Any] = [*chunk.events]
        events += [call for row in chunk.open_rows for call in row.calls]
        if isinstance(chunk, SummedChunk):
            events += chunk.summary.rows
            self.calls |= {cell(key[0], key[3]) for key, _ in chunk.summary.calls}
        for event in events:
            if isinstance(event, Invocation):
                self.calls.add(cell(event.tool, event.project))
            elif isinstance(event, Step):
                self.steps.setdefault((event.provider, event.model), []).append(event.tokens)


class World:
    """A history, an exporter that reads it the first time, and what it takes in."""

    def __init__(self, stack: ExitStack) -> None:
        memory = Path("/dev/shm")  # noqa: S108  # commits need not wait for a disk
        place = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.bench = Bench(Path(stack.enter_context(place)), FakeClock())
        data, now = written()
        self.bench.source.write_bytes(data)
        self.bench.clock.ms = now + REST_MS
        self.history = History(self.bench.source, self.bench.clock.ms - 60_000)
        stack.callback(self.history.close)
        self.taken = Taken()
        self.is_damaged = False
        self.left: set[Cell] = set()
        """The calls that can be read of a damaged database."""

    def happen(self, kind: str, pick: int) -> None:
        """Let something happen to the database; a damaged one is left alone."""
        if kind in PLACES:
            self._damage(*PLACES[kind], pick)
        elif not self.is_damaged:
            KINDS[kind](self.history, pick)

    def _damage(self, name: str, kind: str, pick: int) -> None:
        db = self.history.db.db
        sql = "SELECT pageno, pgsize FROM dbstat WHERE name = ? AND pagetype = ? ORDER BY path"
        found: list[Any] = db.execute(sql, (name, kind)).fetchall()
        busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        if not found or busy:
            return
        self.is_damaged = True
        if name != "part":
            self.left = self.history.calls()
        number, size = found[-1 - pick % len(found)]
        with self.bench.source.open("r+b") as file:
            file.seek((number - 1) * size)
            file.write(b"\xff" * size)

    @contextmanager
    def overtaken(self, exporter: Exporter, acts: list[tuple[int, str, int]]) -> Iterator[None]:
        """Let things happen each after so many chunks were taken in; all others at the end."""
        apply, seen = exporter.ledger.apply, [0]
        waiting = sorted(acts, key=lambda act: act[0])

        def act() -> None:
            while waiting and waiting[0][0] <= seen[0]:
                _, kind, pick = waiting.pop(0)
                self.happen(kind, pick)

        def taking(source: str, chunk: Chunk) -> None:
            apply(source, chunk)
            self.taken.take(chunk)
            seen[0] += 1
            act()

        planned = tailer.Tailer.ahead

        def looking(*given: Any, **more: Any) -> Any:
            found = planned(*given, **more)
            act()
            return found

        with (
            patch.object(exporter.ledger, "apply", taking),
            patch.object(tailer.Tailer, "ahead", looking),
        ):
            yield
            seen[0] = 1 << 30
            act()


def series(exporter: Exporter) -> Series:
    """Return what an exporter shows."""
    return {
        metric.name: {labels: value for labels, value in found.items() if value}
        for metric, found in exporter.pages.snapshot().series.items()
    }


def once(bench: Bench) -> Series:
    """Return what one read of everything shows."""
    exporter = bench.exporter(in_memory=True)
    exporter.poll()
    found = series(exporter)
    exporter.close()
    return found


def calls(found: Series) -> dict[Cell, int]:
    """Return the invocations by tool and project."""
    counted: dict[Cell, int] = {}
    for (tool, _, project, _), value in found[c.TOOL_USAGE.name].items():
        place = cell(tool, project)
        counted[place] = counted.get(place, 0) + value
    return counted


def tokens(found: Series) -> dict[Cell, tuple[int, int]]:
    """Return input and output by provider and model."""
    said: dict[Cell, dict[str, int]] = {}
    for (provider, model, kind), value in found[c.TOKENS.name].items():
        said.setdefault((provider, model), {})[kind] = value
    return {cell: (one.get("input", 0), one.get("output", 0)) for cell, one in said.items()}


def of_sessions(found: Series, without: set[int]) -> Series:
    """Return the series of all sessions but some."""
    ends = {f"{kind}{number}" for kind in "pam" for number in range(100) if number not in without}
    return {
        name: of_them
        for name, values in found.items()
        if (of_them := {key: value for key, value in values.items() if ends & {*key}})
    }


def check(world: World, told: Series) -> None:
    """Compare a page with one read of everything that is left, and with what was taken in."""
    anew = once(world.bench)
    counted, left = calls(told), calls(anew)
    assert all(value == 1 for value in counted.values()), counted
    expected = left.keys() | world.taken.calls
    assert counted.keys() == expected, counted.keys() ^ expected
    there = world.left if world.is_damaged else world.history.calls()
    assert there <= left.keys(), there - left.keys()
    said, steps = tokens(told), world.taken.steps
    for step in said.keys() | steps.keys() | tokens(anew).keys():
        allowed = [(one.input, one.output) for one in steps.get(step, ())]
        assert said.get(step, (0, 0)) in allowed, (step, said.get(step), allowed)
    if world.is_damaged:
        return
    untouched = of_sessions(anew, world.history.touched)
    assert of_sessions(told, world.history.touched) == untouched


moments = st.integers(0, 12) | st.integers(0, 300)
acts = st.lists(
    st.tuples(moments, st.sampled_from([*KINDS]), st.integers(0, 40)), min_size=1, max_size=6
)
damages = st.lists(st.tuples(moments, st.sampled_from([*PLACES]), st.integers(0, 40)), max_size=1)


def found(
    *happens: tuple[int, str, int],
    rows: int = 3,
    ahead: int = 0,
    window: int = 12,
    anchors: int = 32,
    live: bool = True,
) -> example:
    """Return an example that has found something, or would find what must not be."""
    acts = [one for one in happens if one[1] in KINDS]
    damage = [one for one in happens if one[1] in PLACES]
    return example(
        acts=acts,
        damage=damage,
        rows=rows,
        ahead=ahead,
        window=window,
        anchors=anchors,
        live=live,
    )


@pytest.mark.slow
# The rowids of what was read are others' now, and so are those of all that tell it.
@found((170, "replace", 22), rows=1, anchors=1)
@found((100, "replace", 39), rows=1, anchors=1, ahead=1)
# Rows come twice, the second time as a part of sums.
@found((38, "move", 13), ahead=1)
# A gap between what readers read has rows in the end.
@found((0, "move", 19), (2, "replace", 0), rows=1000, ahead=1, window=60)
# No part says any more where the newest are; no message brings what it would have.
@found((0, "a page of parts", 0), live=False)
@found((1, "a page of messages", 0), rows=1000)
# A call is there whose message cannot be found; a message whose parts cannot.
@found((1, "late_call", 0), (1, "a page of the index of messages", 0), ahead=1000)
@found((1, "a page of the index of parts by message", 1))
@settings(max_examples=EXAMPLES)
@given(
    acts=acts,
    damage=damages,
    rows=st.sampled_from([1, 3, 10, 1000]),
    ahead=st.sampled_from([0, 1, 2, 1000]),
    window=st.sampled_from([4, 12, 60]),
    anchors=st.sampled_from([1, 4, 32]),
    live=st.booleans(),
)
def test_first_read_that_is_overtaken(
    *,
    acts: list[tuple[int, str, int]],
    damage: list[tuple[int, str, int]],
    rows: int,
    ahead: int,
    window: int,
    anchors: int,
    live: bool,
) -> None:
    """Nothing counts twice, nothing that stays is lost, and tokens and turns are whole."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as sizes:
        world = World(stack)
        if live:
            world.history.prune(0)  # there is a WAL
        sizes.setattr(tailer, "CHUNK_ROWS", rows)
        sizes.setattr(chunks, "DENSE", anchors)
        sizes.setattr(part_v1, "DENSE", anchors)
        sizes.setattr(read_ahead, "_WINDOW_ROWS", window)
        if ahead:
            sizes.setattr(source_poll, "WORTH_IT_ROWS", 1)
            stack.enter_context(held_back(ahead))
        told = read(world, [*acts, *damage])
        sizes.undo()
        check(world, told)


def read(world: World, happens: list[tuple[int, str, int]]) -> Series:
    """Return what an exporter shows after a first read, a night, and a restart."""
    clock = world.bench.clock
    exporter = world.bench.exporter()
    with world.overtaken(exporter, happens):
        exporter.poll()
    with world.overtaken(exporter, []):
        for passed in (61_000, 61_000, 7 * 3_600_000, 61_000):
            clock.advance(ms=passed)
            exporter.poll()
    health = exporter.poller.health["opencode.db"]
    assert health.up or world.is_damaged, health.problem
    found = series(exporter)
    exporter.close()
    exporter = world.bench.exporter()
    exporter.poll()
    assert calls(series(exporter)) == calls(found)
    exporter.close()
    return found
