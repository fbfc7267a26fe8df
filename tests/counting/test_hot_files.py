"""The files that are edited most: shown when asked for, and gone when not."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from harness.clock import HOUR_MS
from harness.databases import V1, V2
from harness.exporters import Bench, exposed
from harness.recordings import truth, unpack
from opencode_exporter.ledger import store
from opencode_exporter.service.exporter import Exporter

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


def killed(exporter: Exporter, bench: Bench) -> Path:
    """Return a copy of the ledger as SIGKILL would leave it, and end the exporter."""
    copy = bench.directory / "killed" / "ledger.db"
    shutil.copytree(bench.ledger.parent, copy.parent)
    exporter.close()
    return copy


def test_turned_off_after_a_kill_no_file_has_a_path(bench: Bench) -> None:
    """The WAL had the paths for as long as nothing was written over them."""
    lay_out(bench, RECORDED[0])
    exporter = bench.exporter(files_top=100)
    exporter.poll()
    paths = [path.encode() for path, _ in exporter.ledger.published.hot_files]
    ledger = killed(exporter, bench)
    assert all(path in kept(ledger) for path in paths)
    exporter = bench.exporter(ledger_path=ledger)
    exporter.poll()
    assert not any(path in kept(ledger) for path in paths)
    exporter.close()


def test_what_cannot_be_cleared_now_is_cleared_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room, or a kill just then: the next commit does it, or the next start."""
    lay_out(bench, RECORDED[0])
    paths = [path.encode() for path in shown(bench, 100)]

    def fails(_db: apsw.Connection) -> None:
        raise apsw.FullError

    exporter = bench.exporter()
    with monkeypatch.context() as patched:
        patched.setattr(store, "forget", fails)
        exporter.poll()
        assert any(path in kept(bench.ledger) for path in paths)
        shutil.copytree(bench.ledger.parent, bench.directory / "killed")
    exporter.ledger.set_baseline()
    exporter.ledger.commit()
    assert not any(path in kept(bench.ledger) for path in paths)
    exporter.close()
    ledger = bench.directory / "killed" / "ledger.db"
    assert any(path in kept(ledger) for path in paths)
    exporter = bench.exporter(ledger_path=ledger)
    assert not any(path in kept(ledger) for path in paths)
    exporter.close()


def test_no_file_has_a_path_of_more_than_a_week_ago(bench: Bench) -> None:
    """What is forgotten while it runs is gone from the WAL as well."""
    lay_out(bench, RECORDED[0])
    exporter = bench.exporter(files_top=100)
    exporter.poll()
    paths = [path.encode() for path, _ in exporter.ledger.published.hot_files]
    assert all(path in kept(bench.ledger) for path in paths)
    bench.clock.advance(hours=8 * 24)
    exporter.poll()
    assert not any(path in kept(bench.ledger) for path in paths)
    exporter.close()


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
