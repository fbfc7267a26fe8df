"""The files that are edited most: shown when asked for, and gone when not."""

from __future__ import annotations

from pathlib import Path

import pytest

from databases import V1, V2
from support import HOUR_MS, Bench, exposed, truth, unpack

NAME = "opencode_file_hot_edits"
RECORDED = ("turns-1.18.33", "turns-2.0.15")


def lay_out(bench: Bench, name: str) -> None:
    """Make a recording the source, read two hours after it was made."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 2 * HOUR_MS


def shown(bench: Bench, top: int) -> dict[str, float]:
    """Return what an exporter on the ledger shows, by path."""
    exporter = bench.exporter(files_top=top)
    exporter.poll()
    series = exposed(exporter).samples.get(NAME, {})
    exporter.close()
    return {dict(labels)["path"]: value for labels, value in series.items()}


@pytest.mark.parametrize("name", RECORDED)
def test_edited_files_are_shown_from_their_worktree_on(name: str, bench: Bench) -> None:
    """Paths are relative, the most edited come first, and not more than asked for."""
    lay_out(bench, name)
    every = shown(bench, 100)
    assert every
    assert not any(path.startswith("/") for path in every)
    (most,) = shown(bench, 1).items()
    assert most[1] == max(every.values())


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_is_shown_or_kept_unless_asked_for(name: str, bench: Bench) -> None:
    """Without the flag no path is on the page or in the ledger; turned off, all are deleted."""
    lay_out(bench, name)
    paths = [*shown(bench, 100)]
    assert any(path.encode() in kept(bench.ledger) for path in paths)
    assert shown(bench, 0) == {}
    assert not any(path.encode() in kept(bench.ledger) for path in paths)


def kept(ledger: Path) -> bytes:
    """Return all bytes of a ledger."""
    return b"".join(path.read_bytes() for path in sorted(ledger.parent.glob(f"{ledger.name}*")))


def test_edits_of_more_than_a_week_ago_are_forgotten(bench: Bench) -> None:
    """Seven days later nothing is left of what was edited."""
    lay_out(bench, RECORDED[0])
    assert shown(bench, 5)
    bench.clock.advance(hours=7 * 24)
    assert shown(bench, 5) == {}


@pytest.mark.parametrize("generation", [V1, V2])
def test_without_an_edit_there_is_no_series(bench: Bench, generation: type[V1 | V2]) -> None:
    """A database in which nothing was edited shows no path."""
    with generation(bench.source):
        assert shown(bench, 5) == {}
