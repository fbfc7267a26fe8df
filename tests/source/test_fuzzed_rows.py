"""
Whatever a row holds: it ends no poll and spoils no other, and counts the same however it is read.

Rows of the recordings are made odd, in data and columns; seeds that found a defect are
kept.  ``PROPERTY_EXAMPLES=500`` tries as many new ones.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser

from harness.clock import HOUR_MS
from harness.exporters import Bench, Exposed, exposed
from harness.recordings import truth, unpack
from opencode_exporter.service import source_poll
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.source.opencode import tailer
from source.fuzzing import Mutation, adorn, arrivals, connect, spoil, spoil_around

KEPT: Final[tuple[int, ...]] = ()
"""Seeds beyond the usual ones that found something.  Seed 1 did: of a session that was put
away and not read to its end the invocations were counted up to there."""
USUAL: Final = 10
ROWS: Final = 24
RECORDINGS: Final = ("1.18.33", "2.0.15", "turns-1.18.33", "turns-2.0.15", "1.2.27")
CALLS: Final = "opencode_tool_invocations_total"
TOKENS: Final = "opencode_tokens_total"
REJECTED: Final = "opencode_exporter_rows_rejected_total"

_asked = os.environ.get("PROPERTY_EXAMPLES")
SEEDS: Final = (
    [SystemRandom().randrange(1 << 40) for _ in range(int(_asked))]
    if _asked
    else [*KEPT, *range(USUAL)]
)


class Reader:
    """
    Reads the databases of one seed in every way.

    Args:
        folder: Where they are.
        at: The time, ms.
    """

    def __init__(self, folder: Path, bench: Bench, at: int) -> None:
        self._folder, self._bench = folder, bench
        bench.clock.ms = at

    def once(self, name: str) -> Exposed:
        """Return the page after one read."""
        return self._page(name, self._bench.exporter(in_memory=True, source_paths=self._path(name)))

    def _path(self, name: str) -> tuple[Path, ...]:
        return (self._folder / name / "opencode.db",)

    def _page(self, name: str, exporter: Exporter) -> Exposed:
        exporter.poll()
        health = exporter.poller.health["opencode.db"]
        assert (health.up, health.problem) == (True, ""), health.problem
        page = exposed(exporter)
        is_valid(exporter, page)
        exporter.close()
        return page

    def bit_by_bit(self, name: str, rng: Random) -> Exposed:
        """Return the page after polls that were cut short, by exporters that went and came."""
        ledger = self._folder / f"{name}.ledger"
        with few_rows(rng):
            for _ in range(6):
                exporter = self._bench.exporter(source_paths=self._path(name), ledger_path=ledger)
                with cut_short(exporter, rng.randint(1, 6)):
                    exporter.poll()
                exporter.close()
            exporter = self._bench.exporter(source_paths=self._path(name), ledger_path=ledger)
            return self._page(name, exporter)

    def as_it_comes(self, name: str) -> Exposed:
        """Return the page after polls of a database that gets its sessions one by one."""
        path = self._path(name)
        db = connect(path[0])
        ledger = self._folder / f"{name}.live"
        exporter = self._bench.exporter(source_paths=path, ledger_path=ledger)
        for number, _ in enumerate(arrivals(db)):
            if not number % 3:
                exporter.poll()
        db.close()
        return self._page(name, exporter)


@contextmanager
def few_rows(rng: Random) -> Iterator[None]:
    """Read few rows in a transaction, and write few in a commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tailer, "CHUNK_ROWS", rng.choice([5, 17, 60]))
        patch.setattr(source_poll, "_COMMIT_ROWS", rng.choice([1, 40]))
        yield


@contextmanager
def cut_short(exporter: Exporter, chunks: int) -> Iterator[None]:
    """Let a poll be told to stop after some chunks."""
    apply, seen = exporter.ledger.apply, [0]

    def counting(source: str, chunk: Any) -> None:
        apply(source, chunk)
        seen[0] += 1
        if seen[0] == chunks:
            exporter.poller.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter.ledger, "apply", counting)
        yield


def is_valid(exporter: Exporter, page: Exposed) -> None:
    """Hold a page to both formats, and to what a number can be."""
    accept = "application/openmetrics-text; version=1.0.0"
    text = exporter.pages.metrics(accept, process=False).body.decode()
    assert [*openmetrics_parser.text_string_to_metric_families(text)]  # type: ignore[no-untyped-call]
    for name, series in page.samples.items():
        for labels, value in series.items():
            assert isfinite(value), (name, labels)
            assert value >= 0, (name, labels)
            assert all(text.isprintable() for _, text in labels), (name, labels)


def shown(page: Exposed) -> dict[str, Any]:
    """Return what the page says of OpenCode, and what was set aside."""
    return {
        name: found
        for name, series in page.samples.items()
        if name == REJECTED or not name.startswith(("opencode_exporter_", "opencode_source_"))
        if (found := {labels: value for labels, value in series.items() if value})
    }


def without(folder: Path, name: str, rows: list[Mutation]) -> None:
    """Delete rows."""
    db = connect(folder / name / "opencode.db")
    with db:
        for row in rows:
            db.execute(f"DELETE FROM {row.table} WHERE rowid = ?", (row.rowid,))
    db.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_odd_rows_spoil_nothing_but_themselves(
    seed: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others count; it is told how many are set aside; and however it is read is the same."""
    rng, folder = Random(seed), bench.directory  # noqa: S311  # no secret
    name = RECORDINGS[seed % len(RECORDINGS)]
    unpack(name, folder / "odd")
    db = connect(folder / "odd" / "opencode.db")
    rows = spoil(db, rng, ROWS)
    if rng.random() < 0.3:
        spoil_around(db, rng)
    db.close()
    shutil.copytree(folder / "odd", folder / "rest")
    without(folder, "rest", rows)
    reader = Reader(folder, bench, truth(name)["recorded_at_ms"] + 24 * HOUR_MS)
    whole, rest = reader.once("odd"), reader.once("rest")
    told = [(row.table, row.what, row.id) for row in rows]
    for metric, by in ((CALLS, ("tool", "status")), (TOKENS, ("token_type",))):
        missing = Counter(rest.by(metric, *by)) - Counter(whole.by(metric, *by))
        assert not missing, (metric, told)
    rejected = whole.by(REJECTED, "table")
    for table, least in Counter(row.table for row in rows if row.is_broken).items():
        assert rejected[table,] >= least, told
    assert sum(rejected.values()) <= 3 * len(rows), told
    assert shown(reader.bit_by_bit("odd", rng)) == shown(whole), told
    assert shown(reader.as_it_comes("odd")) == shown(reader.once("odd")), told
    if not seed % 4:
        alone = shown(reader.once("odd"))
        monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
        assert shown(reader.once("odd")) == alone, told


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_what_nobody_reads_changes_nothing(seed: int, bench: Bench) -> None:
    """Odd texts, depths and sizes beside what is read leave the page as it was."""
    rng, folder = Random(seed), bench.directory  # noqa: S311  # no secret
    name = RECORDINGS[seed % len(RECORDINGS)]
    unpack(name, folder / "plain")
    shutil.copytree(folder / "plain", folder / "odd")
    db = connect(folder / "odd" / "opencode.db")
    adorn(db, rng)
    db.close()
    reader = Reader(folder, bench, truth(name)["recorded_at_ms"] + 24 * HOUR_MS)
    assert shown(reader.once("odd")) == shown(reader.once("plain"))
