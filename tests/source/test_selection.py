"""What a report since a time does not read cannot matter to it: it says the same as without."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from counting.turn_rows import turn
from harness.clock import HOUR_MS
from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed
from opencode_exporter.service import source_poll
from opencode_exporter.source.opencode import selection
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.stretches import Stretch

Database = V1 | V2
_DAY_MS: Final = 24 * HOUR_MS
_MEMORY: Final = ("opencode_exporter_rows_read", "opencode_exporter_copies", "opencode_source_last")


def work(page: Exposed) -> dict[str, Any]:
    """Return what a page says of OpenCode; not how much was read for it."""
    return {
        name: {labels: value for labels, value in series.items() if value}
        for name, series in page.samples.items()
        if name.startswith("opencode_") and not name.startswith(_MEMORY)
    }


def history(path: Path, generation: type[Database], seed: int) -> list[int]:
    """Write some months of sessions, forks, sub-agents and what hangs; return times in between."""
    random, times = Random(seed), list[int]()  # noqa: S311  # no secret
    with generation(path) as db, db.db:
        sessions = [db.session()]
        for number in range(90):
            times.append(db.now)
            db.now += random.choice((1000, HOUR_MS, _DAY_MS, 3 * _DAY_MS))
            old = random.choice(sessions)
            what = random.random()
            if what < 0.35:
                sessions.append(db.session(project=random.choice(("one", "two"))))
            elif what < 0.45:
                sessions.append(db.fork(old))
            elif what < 0.55:
                sessions.append(db.session(parent=old))
            session = random.choice((sessions[-1], sessions[-1], old))
            for each in range(random.randint(0, 3)):
                turn(db, session, f"call_{number}_{each}", pause_ms=random.choice((0, HOUR_MS)))
            if random.random() < 0.2:
                hang(db, session, f"hangs_{number}", random)
            if random.random() < 0.1:
                db.now -= random.choice((HOUR_MS, 20 * _DAY_MS))  # the clock is set back
                sessions.append(db.fork(session))
                db.now += 20 * _DAY_MS
    return times


def _left_out(stretch: Stretch) -> int:
    """Return how many rows of a stretch are not read."""
    return 0 if stretch.only is None else stretch.rows - sum(some.rows for some in stretch.only)


def hang(db: Database, session: str, name: str, random: Random) -> None:
    """Write a call that runs; it may be in a step that began long before."""
    if isinstance(db, V1):
        message = db.message(session)
        db.now += random.choice((0, 2 * _DAY_MS))
        db.tool(message, call=name, status="running")
    else:
        db.assistant(session, [call(name, status="running")], completed=None)


@pytest.mark.parametrize("generation", [V1, V2])
@pytest.mark.parametrize("seed", range(8))
def test_report_since_a_time_says_what_reading_all_says(
    bench: Bench, generation: type[Database], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All was read and nearly all left out: a report on a week took longer than one on a year."""
    times = history(bench.source, generation, seed)
    bench.clock.ms = times[-1] + _DAY_MS
    monkeypatch.setattr(selection, "_MOST", 2)
    monkeypatch.setattr(selection, "_APART", 1)
    left_out = 0
    for since in times[20::14]:
        chosen: list[list[Stretch]] = []

        def noted(
            reader: Reader, stretches: list[Stretch], at: int, chosen: Any = chosen
        ) -> list[Stretch]:
            found: list[Stretch] = selection.select(reader, stretches, at)
            chosen.append(found)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(source_poll, "select", noted)
            short = bench.read_once(since_ms=since)
            patch.setattr(source_poll, "select", lambda _reader, stretches, _at: stretches)
            whole = bench.read_once(since_ms=since)
        assert work(short) == work(whole)
        left_out += sum(_left_out(stretch) for stretch in chosen[0])
    assert left_out >= 100


def test_with_many_sessions_a_statement_is_given_some_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of a year had times of a megabyte, which the reader takes for a huge row."""
    monkeypatch.setattr(selection, "_PORTION", 3)
    times = history(bench.source, V1, seed=1)
    bench.clock.ms = times[-1] + _DAY_MS
    assert work(bench.read_once(since_ms=times[60])) != work(bench.read_once())


def test_id_that_is_no_text_makes_a_report_read_all(bench: Bench) -> None:
    """It fails in the statements that look for sessions; the rows themselves can be read."""
    with V1(bench.source) as db:
        turn(db, db.session(), "call_0")
        db.db.execute("UPDATE part SET session_id = CAST(x'ff' AS TEXT) WHERE rowid = 1")
        page = bench.read_once(since_ms=1)
    assert page.total("opencode_turns_total") == 1
