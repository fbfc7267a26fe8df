"""Databases come, go and come back, and there may be many: counts go on, labels are bounded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from counting.copied_sessions import work
from harness.databases import V1
from harness.exporters import Bench, Exposed
from harness.pages import counted, polled
from opencode_exporter.counting.labels import limit_of

POLLS: Final = "opencode_exporter_polls_total"
DURATION: Final = "opencode_exporter_poll_duration_seconds_count"
READ: Final = "opencode_exporter_rows_read_total"
REJECTED: Final = "opencode_exporter_rows_rejected_total"
OF_SOURCES: Final = (POLLS, DURATION, READ, REJECTED)
MANY: Final = 60


def make(path: Path, *calls: str) -> None:
    """Write a database with some calls."""
    with V1(path) as db:
        message = db.message(db.session())
        for call in calls:
            db.tool(message, call=call)


def sources(page: Exposed) -> set[str]:
    """Return all values of the label ``source``."""
    return {
        dict(labels)["source"]
        for series in page.samples.values()
        for labels in series
        if "source" in dict(labels)
    }


def falls(before: Exposed, page: Exposed) -> list[object]:
    """Return the series of sources that have fallen, or are gone."""
    return [
        (name, dict(labels), value)
        for name in OF_SOURCES
        for labels, value in before.samples.get(name, {}).items()
        if page.samples[name].get(labels, 0) < value
    ]


def test_counts_of_a_source_go_on_when_it_comes_back(bench: Bench) -> None:
    """Its polls began at 0 again when its file was away for a while: a restart that was none."""
    exporter = bench.exporter(source_paths=(bench.directory,))
    other = bench.directory / "opencode-next.db"
    make(bench.source, "call_1")
    make(other, "call_2")
    with V1(other, ddl="") as db:
        db.raw_part(db.db.execute("SELECT id FROM message").get, "no JSON")
    pages = [polled(exporter) for _ in range(3)]
    assert pages[-1].value(POLLS, source=other.name, result="ok") == 3
    for _ in range(2):
        kept = other.rename(bench.directory / "aside")
        pages += [polled(exporter) for _ in range(2)]
        assert pages[-1].value("opencode_up", source=other.name) is None
        assert pages[-1].value("opencode_up", source=bench.source.name) == 1
        kept.rename(other)
        pages.append(polled(exporter))
        assert pages[-1].value("opencode_up", source=other.name) == 1
    assert pages[-1].value(POLLS, source=other.name, result="ok") == 5
    assert pages[-1].value(DURATION, source=other.name) == 5
    for before, page in pairwise(pages):
        assert falls(before, page) == []
    exporter.close()


def test_sources_beyond_the_limit_share_a_name(bench: Bench) -> None:
    """Of sixty databases each is counted, and at most fifty names are shown."""
    exporter = bench.exporter(source_paths=(bench.directory,))
    for number in range(MANY):
        make(bench.directory / f"opencode-{number:02}.db", f"call_{number}")
    page = polled(exporter)
    assert counted(page) == {("read", "completed"): MANY}
    named = limit_of("source") - 2
    assert len(sources(page)) == named + 1 <= 50
    assert page.value(POLLS, source="_other", result="ok") == MANY - named
    assert page.value(DURATION, source="_other") == MANY - named
    assert page.total("opencode_up") == named + 1
    assert page.value("opencode_exporter_history_progress_ratio", source="_other") == 1
    sizes = page.by("opencode_source_bytes", "source")
    assert sizes["_other",] == (MANY - named) * sizes["opencode-00.db",]
    overflows = page.by("opencode_exporter_label_overflow_total", "metric")
    assert overflows == {(READ,): page.by(READ, "source")["_other",]}
    exporter.close()


def test_shared_name_shows_the_worst(bench: Bench) -> None:
    """One database of those beyond the limit that cannot be read is seen to be down."""
    exporter = bench.exporter(source_paths=(bench.directory,))
    for number in range(MANY):
        make(bench.directory / f"opencode-{number:02}.db")
    polled(exporter)
    last = bench.directory / f"opencode-{MANY - 1}.db"
    last.write_bytes(b"no database at all")
    page = polled(exporter)
    assert page.value("opencode_up", source="_other") == 0
    assert page.value("opencode_source_supported", source="_other") == 0
    assert page.value(POLLS, source="_other", result="error") == 1
    last.unlink()
    before, page = page, polled(exporter)
    assert page.value("opencode_up", source="_other") == 1
    assert falls(before, page) == []
    exporter.close()


@pytest.mark.slow
@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_names_of_sources_are_kept(bench: Bench, *, restart: bool) -> None:
    """A name that was shown stays that of its database, whoever comes and goes before it."""
    paths = [bench.directory / f"opencode-{number:02}.db" for number in range(MANY)]
    exporter = bench.exporter(source_paths=(bench.directory,))
    for path in paths[10:]:
        make(path, path.name)
    first = polled(exporter)
    if restart:
        exporter.close()
        exporter = bench.exporter(source_paths=(bench.directory,))
    for path in paths[:10]:
        make(path, path.name)
    with V1(paths[-1], ddl="", now=bench.clock.ms) as db:
        work(db, db.session(), "call_more")
    page = polled(exporter)
    assert sources(page) == sources(first)
    assert counted(page) == {("read", "completed"): MANY + 1}
    if not restart:
        assert falls(first, page) == []
    exporter.close()


def test_versions_of_many_sources_are_bounded(bench: Bench) -> None:
    """Each database may have been written by a version of its own."""
    for number in range(MANY):
        path = bench.directory / f"opencode-{number:02}.db"
        make(path)
        with V1(path, ddl="") as db:
            db.db.execute("UPDATE session SET version = ?", (f"1.18.{number}",))
    page = bench.read_once(source_paths=(bench.directory,))
    versions = {labels for (labels,) in page.by("opencode_source_info", "opencode_version")}
    assert 40 < len(versions) <= limit_of("opencode_version")
