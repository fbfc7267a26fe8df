"""A real exporter whose ledger is damaged, refused, or cannot be made."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from harness import mounts
from harness.exporters import Bench, exposed
from harness.processes.command import ANYWHERE, Place
from harness.processes.served import Served
from harness.processes.work import (
    CALLS,
    PAGE,
    SOURCE,
    a_minute_ago,
    counts,
    damage_keys,
    overwrite,
    serve,
    working,
)
from harness.waiting import wait_for

MANY: Final = 3000


def wal_of(ledger: Path) -> Path:
    """Return the WAL beside a ledger."""
    return ledger.with_name("ledger.db-wal")


def changed(statement: str) -> Callable[[Path], None]:
    """Return what leaves a database that is whole, and in it what is none of ours."""

    def change(ledger: Path) -> None:
        with_ledger = apsw.Connection(str(ledger))
        with_ledger.execute(statement)
        with_ledger.close()

    return change


def empty_with_a_wal(ledger: Path) -> None:
    """Leave an empty file beside a WAL: nothing made by `touch`."""
    os.truncate(ledger, 0)
    wal_of(ledger).write_bytes(bytes.fromhex("377f0682"))


DAMAGE: Final[dict[str, Callable[[Path], object]]] = {
    "first page": lambda path: overwrite(path, 0, PAGE),
    "header alone": lambda path: overwrite(path, 0, 16),
    "all but the first page": lambda path: overwrite(path, PAGE, path.stat().st_size),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "truncated to a page": lambda path: os.truncate(path, PAGE),
    "empty, with a WAL": empty_with_a_wal,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "no table": changed("DROP TABLE cursor"),
    "no value": changed("UPDATE series SET value = 'x'"),
    # These were served as an error for ever, or ended each start.
    "no histogram": changed("UPDATE series SET value = '5'"),
    "too large": changed(f"UPDATE series SET value = '{'9' * 400}' WHERE value NOT LIKE '[%'"),
    "no time": changed("UPDATE meta SET value = 'x' WHERE name = 'baseline_ms'"),
    "no salt": changed("DELETE FROM meta WHERE name = 'salt'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGE)
def test_every_damage_is_known_as_one(name: str, bench: Bench) -> None:
    """Whatever happened to the file, it is kept byte for byte, and counting starts at zero."""
    with working(bench, 300) as work:
        check_in_process(bench, 300)
        DAMAGE[name](bench.ledger)
        damaged = bench.ledger.read_bytes()
        check_in_process(bench, 0)
        (aside,) = set_aside(bench)
        assert aside.read_bytes() == damaged
        work.add(3)
        for _ in range(2):
            check_in_process(bench, 3)


def check_in_process(bench: Bench, calls: int, **settings: Any) -> None:
    """Assert how many calls an exporter counts that is started, polled and ended here."""
    bench.clock.ms = a_minute_ago() + 60_000
    exporter = bench.exporter(**settings)
    try:
        exporter.poll()
        page = exposed(exporter)
        assert (page.value("opencode_up", source=SOURCE), page.total(CALLS)) == (1, calls)
    finally:
        exporter.close()


@pytest.mark.slow
def test_ledger_damaged_while_we_were_away(bench: Bench) -> None:
    """The real process says loudly what it found, keeps it, and serves on."""
    with working(bench, 300) as work, serve(bench) as served:
        counts(served, 300)
        assert served.stop() == 0
        overwrite(bench.ledger, 0, PAGE)
        damaged = bench.ledger.read_bytes()
        served.start()
        wait_for(served.is_ready)
        counts(served, 0)
        check_kept_aside(served, bench, damaged)
        work.add(3)
        counts(served, 3)


def set_aside(bench: Bench) -> list[Path]:
    """Return the ledgers that were kept aside, without their WALs."""
    found = bench.ledger.parent.glob("ledger.db.corrupt-*")
    return [path for path in found if not path.name.endswith("-wal")]


def check_kept_aside(served: Served, bench: Bench, damaged: bytes | None = None) -> None:
    """Assert that there is one damaged ledger, and that log and landing page tell of it."""
    (aside,) = set_aside(bench)
    assert damaged is None or aside.read_bytes() == damaged
    assert served.log.count("ledger is damaged: kept aside, counting starts at zero from now") == 1
    assert '"level": "error"' in served.log
    assert aside.name in served.get("/").text
    assert not list(bench.ledger.parent.glob("*.new-*"))


@pytest.mark.slow
def test_wal_of_the_ledger_lost(bench: Bench) -> None:
    """Commits that are gone are made again from the source: the totals are exact all the same."""
    with working(bench, 300) as work, serve(bench) as served:
        counts(served, 300)
        served.kill()  # its newest commits are in the WAL alone
        size = wal_of(bench.ledger).stat().st_size
        assert size
        work.add(2)
        for number, (start, end) in enumerate([(0, 32), (size // 2, size), (0, size), (0, 0)]):
            copy = bench.directory / f"copy{number}" / "ledger.db"
            shutil.copytree(bench.ledger.parent, copy.parent)
            overwrite(wal_of(copy), start, end)
            if not end:
                wal_of(copy).unlink()
            check_in_process(bench, 302, ledger_path=copy)
            assert not list(copy.parent.glob("ledger.db.corrupt-*"))


@pytest.mark.slow
def test_damage_that_shows_while_we_serve(bench: Bench) -> None:
    """Pages that are read long after the start may be damaged too: the same is done then."""
    with working(bench, MANY) as work, serve(bench) as served:
        counts(served, MANY)
        assert served.stop() == 0
        instance = instance_of(bench.ledger)
        damage_keys(bench.ledger)
        served.start()
        counts(served, MANY)  # nothing has asked for a key yet
        work.add(20)
        wait_for(lambda: "ledger is damaged" in served.log)
        wait_for(served.is_ready)
        counts(served, 0)
        check_kept_aside(served, bench)
        work.add(4)
        counts(served, 4)
        assert served.stop() == 0
        assert instance_of(bench.ledger) == instance  # over OTLP it is the same exporter


def instance_of(ledger: Path) -> str:
    """Return the instance id of a ledger that nobody holds."""
    with contextlib.closing(apsw.Connection(str(ledger))) as db:
        [(instance,)] = db.execute("SELECT value FROM meta WHERE name = 'instance_id'")
    return str(instance)


# What refuses to start.


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home without anything in it."""
    return Place(tmp_path)


@pytest.mark.slow
def test_ledger_of_a_newer_version_is_refused(bench: Bench, place: Place) -> None:
    """One sentence and exit code 1; no byte of the file or of its WAL changes."""
    bench.exporter().close()
    writer = apsw.Connection(str(bench.ledger))
    writer.pragma("user_version", 99)  # in the WAL alone, as a crash leaves it
    files = {path: path.read_bytes() for path in bench.ledger.parent.iterdir()}
    writer.close()
    for path, data in files.items():
        path.write_bytes(data)
    before = {path: path.read_bytes() for path in (bench.ledger, wal_of(bench.ledger))}
    done = place.run("serve", "--ledger.path", str(bench.ledger), *ANYWHERE)
    assert done.returncode == 1
    assert done.stderr == (
        f"opencode-exporter: the ledger {bench.ledger} was written by a newer version of this "
        "exporter: update the exporter, or give it another ledger with --ledger.path\n"
    )
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_database_of_others_stays_as_it_is(bench: Bench, place: Place) -> None:
    """A database that is no ledger is refused, and not even its journal mode changes."""
    other = bench.directory / "other.db"
    database = apsw.Connection(str(other))
    database.execute("CREATE TABLE song (id)")
    database.close()
    before = other.read_bytes()
    done = place.run("serve", "--ledger.path", str(other), *ANYWHERE)
    assert done.returncode == 1
    assert "is a database, but no ledger of this exporter" in done.stderr
    assert other.read_bytes() == before
    assert [path.name for path in bench.directory.glob("other.db*")] == ["other.db"]


@pytest.mark.slow
@pytest.mark.parametrize("why", [pytest.param("read-only", marks=pytest.mark.root), "in the way"])
def test_ledger_directory_that_cannot_be_written(why: str, bench: Bench, place: Place) -> None:
    """One sentence and exit code 1: without a ledger nothing would be counted exactly once."""
    directory = bench.directory / "state"
    with contextlib.ExitStack() as later:
        if why == "read-only":
            later.enter_context(mounts.small(directory, "-o", "ro"))
        else:
            directory.write_text("a file")
        done = place.run("serve", "--ledger.path", str(bench.ledger), *ANYWHERE)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"opencode-exporter: the ledger {bench.ledger} cannot be created ("
    )
    assert done.stderr.endswith(
        "): make its directory writable, or choose another with --ledger.path\n"
    )
