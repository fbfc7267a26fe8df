"""The history with times: it ends as the exporter began, and rises when things happened."""

from __future__ import annotations

import random
from collections.abc import Iterator

import apsw
import pytest

from commands.backfilling import MINUTE_MS, Past, backfill_file, backfilled, first_page
from commands.joining import assert_joins, assert_never_falls, counted
from harness.clock import HOUR_MS
from harness.exporters import Bench, Exposed, exposed
from harness.recordings import unpack
from harness.replaying import Replay
from ledger.expected_starts import NAMES, called, event_times, recorded
from opencode_exporter import catalog as c

LAGGING: tuple[tuple[str, set[tuple[str, str]]], ...] = (
    # A call that will not end: live, a later step tells of it.
    ("opencode_tool", {("status", "abandoned")}),
    ("opencode_tool_wait_seconds", {("tool", "shell")}),
    ("opencode_shell_exits", {("exit", "unknown")}),
    # A message that nobody answers waits for its parts.
    ("opencode_messages_total", {("role", "user")}),
    # A turn that such a message, or a minute of silence, ends: live as much later.
    ("opencode_turns_total", {("outcome", "interrupted")}),
    ("opencode_turns_total", {("outcome", "abandoned")}),
    ("opencode_turn_duration_seconds", set()),
    ("opencode_skill_runs_total", {("outcome", "interrupted")}),
    ("opencode_skill_runs_total", {("outcome", "abandoned")}),
    ("opencode_skill_run_duration_seconds", set()),
    # A session is put away at the end of the recording alone.
    ("opencode_session_tool_invocations", set()),
)
"""Series that count at other times when an exporter looks on, and why."""
SINCE_COMPLETION = {"opencode_messages_total"}
"""Metrics that count a step when it is over, and of which the oracle has its beginning."""
SEVERAL_EACH = {"opencode_sessions_total", "opencode_tokens_total"}
"""Metrics of which the oracle's events are not one each."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_last_sample_is_the_first_live_value(name: str, bench: Bench) -> None:
    """Every series ends with what the exporter served first, and has its labels."""
    page = first_page(recorded(name, bench))
    past = backfilled(bench)
    assert_joins(past, page)
    assert_never_falls(past)
    assert sum(len(series) for series in past.series.values()) > 600


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_series_rise_when_things_happened(name: str, bench: Bench) -> None:
    """At each sample a series shows what the oracle says had happened by then."""
    first_page(recorded(name, bench))
    events = event_times(bench.source)
    end = max(time for times in events.values() for time in times) + 2 * MINUTE_MS
    past = backfilled(bench, step_s=10, until_ms=end)
    seen = 0
    for (metric, values), times in events.items():
        if metric in SEVERAL_EACH or (metric in SINCE_COMPLETION and values[0] == "assistant"):
            continue
        labels = frozenset(zip(c.BY_NAME[metric].labels, values, strict=True))
        for at, value in past.series[metric][labels]:
            assert value == sum(time <= at for time in times), (metric, values, at)
            seen += 1
    assert seen > 500


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if "upgrade" not in name])
def test_history_is_what_a_live_exporter_would_have_shown(name: str, bench: Bench) -> None:
    """
    An exporter that was there from the beginning showed the same, within a step.

    The recording is written once more beside it; when a row was written is known to the
    second or so.
    """
    replay = Replay(unpack(name, bench.directory / "old"), bench.source)
    pages = list(live(replay, bench))
    replay.close()
    bench.clock.advance(hours=24)
    first_page(bench)
    past = backfilled(bench, step_s=60, until_ms=pages[-1][0] + 2 * MINUTE_MS)
    compared = 0
    for at, page in pages:
        for series, labels, value in counted(page):
            if any(labels >= known and series.startswith(name) for name, known in LAGGING):
                continue
            known = past.series.get(series, {}).get(labels)
            before, after = (
                (past.value(series, labels, at + shift) if known else 0.0)
                for shift in (-MINUTE_MS, MINUTE_MS)
            )
            assert before <= value <= after, (series, labels, at)
            compared += bool(known)
    assert compared > 2000


def live(replay: Replay, bench: Bench) -> Iterator[tuple[int, Exposed]]:
    """Write all rows, and yield what an exporter shows at every minute."""
    moves = replay.moves()
    bench.clock.ms = moves[0].at // MINUTE_MS * MINUTE_MS
    exporter = bench.exporter(in_memory=True)
    exporter.poll()
    for move in moves:
        while move.at > bench.clock.ms + MINUTE_MS:
            bench.clock.advance(ms=MINUTE_MS)
            exporter.poll()
            yield bench.clock.ms, exposed(exporter)
        move.write()
    for _ in range(2):
        bench.clock.advance(ms=MINUTE_MS)
        exporter.poll()
        yield bench.clock.ms, exposed(exporter)
    exporter.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_deleted_since_is_there_from_the_start(name: str, seed: int, bench: Bench) -> None:
    """Sessions that were counted and are gone now are the offset; nothing falls or is missed."""
    page = first_page(recorded(name, bench))
    chance = random.Random(seed)  # noqa: S311  # of a test
    db = apsw.Connection(str(bench.source))
    db.pragma("foreign_keys", True)
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in {"session", "session_v2"} & tables:
        for (session,) in list(db.execute(f"SELECT id FROM {table}")):
            if chance.random() < 0.5:
                db.execute(f"DELETE FROM {table} WHERE id = ?", (session,))
    db.close()
    past = backfilled(bench)
    assert_joins(past, page)
    assert_never_falls(past)
    first = min(samples[0][0] for of_name in past.series.values() for samples in of_name.values())
    assert past.total("opencode_tool_invocations_total", first) > 0


def test_what_came_late_is_not_before_the_baseline(bench: Bench) -> None:
    """Old calls that came in after the baseline are not in what the exporter served first."""
    begin = bench.clock.ms
    called(bench, "read", begin)
    page = first_page(bench)
    called(bench, "read", begin - HOUR_MS)
    called(bench, "grep", begin - HOUR_MS)
    past = backfilled(bench)
    assert_joins(past, page)
    assert_never_falls(past)
    assert past.total("opencode_tool_invocations_total", bench.clock.ms) == 1


@pytest.mark.parametrize("late_s", [-5 * 3600, 1800])
def test_more_than_had_counted_never_makes_a_series_fall(late_s: int, bench: Bench) -> None:
    """Calls that came in later push out the earliest; no bucket of a histogram goes below 0."""
    begin = bench.clock.ms
    for hour in range(-10, 0):
        called(bench, "read", begin + hour * HOUR_MS)
    page = first_page(bench)
    for hour in range(-10, 0, 2):
        called(bench, "read", begin + hour * HOUR_MS + late_s * 1000)
    file, written = backfill_file(bench)
    past = Past.of(file)
    assert_joins(past, page)
    assert_never_falls(past)
    assert written.too_much > 3
    assert written.too_little == 0
    buckets = past.series["opencode_tool_duration_seconds_bucket"].values()
    assert min(value for samples in buckets for _, value in samples) == 0


def test_an_event_at_the_very_baseline_counts(bench: Bench) -> None:
    """What happened in the millisecond in which the exporter began to count is in its history."""
    called(bench, "read", bench.clock.ms)
    bench.clock.ms -= 980  # the call took 20 ms
    page = first_page(bench)
    assert page.value("opencode_tool_invocations_total", tool="read", status="completed") == 1
    file, written = backfill_file(bench)
    assert_joins(Past.of(file), page)
    assert (written.too_much, written.too_little) == (0, 0)


def test_what_came_after_the_baseline_is_left_to_the_scrapes(bench: Bench) -> None:
    """The exporter goes on for days: the history still ends where it began to count."""
    called(bench, "read", bench.clock.ms)
    page = first_page(bench)
    baseline = bench.clock.ms
    for hours in (1, 24, 48):
        bench.clock.advance(hours=hours)
        called(bench, "read", bench.clock.ms)
        first_page(bench)
    past = backfilled(bench)
    assert_joins(past, page)
    last = {samples[-1][0] for of_name in past.series.values() for samples in of_name.values()}
    assert last == {baseline - 1}


def test_an_invocation_that_was_open_at_the_baseline_is_not_in_the_history(bench: Bench) -> None:
    """It ended later, and counted then; what was given up by then is in it."""
    begin = bench.clock.ms
    called(bench, "read", begin)
    page = first_page(bench)
    db = apsw.Connection(str(bench.source))
    update = "UPDATE part SET data = json_set(data, '$.state.time.end', ?)"
    db.execute(update, (bench.clock.ms + HOUR_MS,))
    db.close()
    bench.clock.advance(hours=2)
    past = backfilled(bench)
    assert_joins(past, page)
    # It is known to have counted, and not when: that is before all that is known.
    labels = frozenset({("tool", "read"), ("status", "completed")})
    samples = past.series["opencode_tool_invocations_total"][labels]
    assert {value for _, value in samples} == {1.0}


def test_a_database_without_history_has_two_samples_of_nothing(bench: Bench) -> None:
    """Names that are known show 0 before the baseline; there is nothing else."""
    called(bench, "read", bench.clock.ms)
    first_page(bench)
    bench.source.unlink()
    called(bench, "read", bench.clock.ms + HOUR_MS)
    past = backfilled(bench)
    times = {at for of in past.series.values() for samples in of.values() for at, _ in samples}
    assert len(times) == 2
    assert past.total("opencode_tool_invocations_total", max(times)) == 1
