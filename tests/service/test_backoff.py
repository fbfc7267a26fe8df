"""A source that fails is left alone longer and longer, and never when somebody asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import pytest

from harness.exporters import Bench, exposed
from harness.rereading import CALLS, fill, problem
from opencode_exporter.service.exporter import Exporter
from source.held_locks import LOCKS, held

SOURCE: Final = "opencode.db"
HELD: Final = LOCKS["rollback journal"]  # to let it go leaves the files as they are
NO_DATABASE: Final = b"a text of 27 characters\n" * 100

Make = Callable[[Bench], AbstractContextManager[None]]


def locked(bench: Bench) -> AbstractContextManager[None]:
    """Have another process hold the database for itself."""
    fill(bench.source)
    return held(bench.source, *HELD)


def missing(_bench: Bench) -> AbstractContextManager[None]:
    """Have no database."""
    return nullcontext()


def foreign(bench: Bench) -> AbstractContextManager[None]:
    """Have a file that is no database."""
    bench.source.write_bytes(NO_DATABASE)
    return nullcontext()


BY_ANOTHER = pytest.param(locked, marks=pytest.mark.slow)  # a process holds it
each_way = pytest.mark.parametrize("fails", [BY_ANOTHER, missing, foreign])


def tries(exporter: Exporter) -> float:
    """Return how often a poll of the source has failed."""
    value = exposed(exporter).value("opencode_exporter_polls_total", source=SOURCE, result="error")
    return value or 0


def wake(bench: Bench, exporter: Exporter, seconds: float) -> None:
    """Wake ten times a second, as changes beside the source do."""
    for _ in range(round(seconds * 10)):
        exporter.poll(patiently=True)
        bench.clock.advance(ms=100)


@each_way
def test_source_that_fails_is_tried_at_longer_and_longer_intervals(
    fails: Make, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It was opened again at every wake, ten times a second, for as long as it failed."""
    with fails(bench):
        exporter = bench.exporter()
        for until, tried in ((0.5, 1), (1.5, 2), (3.5, 3), (31.5, 6), (91.5, 8)):
            wake(bench, exporter, until - (bench.clock.monotonic() - began(bench)))
            assert tries(exporter) == tried
        exporter.close()
    lines = [vars(record) for record in caplog.records if "cannot be read" in record.message]
    assert [line["failures"] for line in lines] == [1, 7, 8]


def began(bench: Bench) -> float:
    """Return when the bench's clock began."""
    return type(bench.clock)().monotonic()


@each_way
def test_next_try_is_told_to_whoever_waits_for_it(fails: Make, bench: Bench) -> None:
    """Without a wake nobody would poll before the timer; a source that is well waits for none."""
    with fails(bench):
        exporter = bench.exporter()
        exporter.poll(patiently=True)
        assert exporter.retry_s() == pytest.approx(0.5)
        bench.clock.advance(ms=500)
        exporter.poll(patiently=True)
        assert exporter.retry_s() == pytest.approx(1)
    bench.source.unlink(missing_ok=True)
    fill(bench.source)
    exporter.poll()
    assert not problem(exporter)
    assert exporter.retry_s() == math.inf
    exporter.close()


@pytest.mark.slow
def test_scrape_does_not_wait_for_the_next_try(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A lock that is let go leaves no trace: a wake passes the source over, a scrape does not."""
    caplog.set_level("INFO", "opencode_exporter")
    with locked(bench):
        exporter = bench.exporter()
        wake(bench, exporter, 16)
    exporter.poll(patiently=True)
    assert problem(exporter).startswith("the database is locked")
    exporter.poll()
    assert not problem(exporter)
    assert exposed(exporter).total(CALLS) == 1
    (line,) = (vars(record) for record in caplog.records if "read again" in record.message)
    assert line["failures"] == 6
    exporter.close()


@pytest.mark.parametrize("fails", [missing, foreign])
def test_change_of_the_files_is_looked_at_at_once(fails: Make, bench: Bench) -> None:
    """A database that appears is read at the wake that tells of it, however long it was away."""
    with fails(bench):
        exporter = bench.exporter()
        wake(bench, exporter, 40)
    put(bench.source)
    exporter.poll(patiently=True)
    assert not problem(exporter)
    assert exposed(exporter).total(CALLS) == 1
    exporter.close()


def put(path: Path) -> None:
    """Put a good database where there was none, or another file."""
    path.unlink(missing_ok=True)
    fill(path)


def test_failure_between_good_polls_is_tried_again_soon(bench: Bench) -> None:
    """The wait begins anew after each success: it is about failures in a row."""
    fill(bench.source)
    exporter = bench.exporter()
    for _ in range(3):
        exporter.poll()
        assert not problem(exporter)
        content = bench.source.read_bytes()
        bench.source.write_bytes(NO_DATABASE)
        exporter.poll(patiently=True)
        assert exporter.retry_s() == pytest.approx(0.5)
        bench.source.write_bytes(content)
    exporter.close()


def test_one_source_that_fails_holds_up_no_other(bench: Bench) -> None:
    """What is left alone is the source that failed, not the poll."""
    other = bench.directory / "opencode-next.db"
    bench.source.write_bytes(NO_DATABASE)
    exporter = bench.exporter(source_paths=(bench.source, other))
    wake(bench, exporter, 20)
    fill(other)
    exporter.poll(patiently=True)
    assert exposed(exporter).total(CALLS) == 1
    assert tries(exporter) == 6
    exporter.close()
