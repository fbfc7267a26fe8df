"""A real exporter whose ledger has no room left on its disk."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from harness import mounts
from harness.exporters import Bench, exposed
from harness.processes.command import ANYWHERE, Place
from harness.processes.served import Served
from harness.processes.work import (
    CALLS,
    SOURCE,
    a_minute_ago,
    counts,
    damage_keys,
    serve,
    shown,
    working,
)
from harness.waiting import wait_for


def fill(filler: Path) -> None:
    """Fill the disk that a file is on."""
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


SetRoom = Callable[[Served, bool], None]


def wal_of(ledger: Path) -> Path:
    """Return the WAL beside a ledger."""
    return ledger.with_name("ledger.db-wal")


@contextmanager
def limited(bench: Bench) -> Iterator[SetRoom]:
    """Yield what takes a process the room to write, and gives it back: a limit of its files."""

    def set_room(served: Served, room: bool) -> None:
        most = resource.RLIM_INFINITY if room else wal_of(bench.ledger).stat().st_size + 20_000
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    yield set_room


@contextmanager
def crowded(bench: Bench) -> Iterator[SetRoom]:
    """Yield what fills the disk of the ledger, and frees it again."""
    filler = bench.ledger.parent / "filler"

    def set_room(_served: Served, room: bool) -> None:
        if room:
            filler.unlink()
            return
        fill(filler)

    with mounts.small(bench.ledger.parent, "-o", "size=4m"):
        yield set_room


@pytest.mark.slow
@pytest.mark.parametrize(
    "full",
    [
        pytest.param(limited, id="limit"),
        pytest.param(crowded, id="disk", marks=pytest.mark.root),
    ],
)
def test_no_room_for_the_ledger(
    full: Callable[[Bench], AbstractContextManager[SetRoom]], bench: Bench
) -> None:
    """It says so and serves what it had; with room again it goes on by itself, and is exact."""
    with full(bench) as set_room, working(bench, 20) as work, serve(bench) as served:
        counts(served, 20)
        set_room(served, False)
        work.add(5000)
        wait_for(lambda: served.page().value("opencode_up", source=SOURCE) == 0)
        for _ in range(5):
            assert shown(served) == (0, 20)
            assert served.is_ready()
        assert "the ledger cannot be written" in served.get("/").text
        assert served.log.count("ledger cannot be used") == 1
        assert "free space on its disk" in served.log
        work.add(10)
        set_room(served, True)
        counts(served, 5030)
        assert "source is read again" in served.log
        served.kill()
        served.start()
        counts(served, 5030)


@pytest.mark.root
def test_no_room_for_the_history(bench: Bench) -> None:
    """A first read that does not fit is shown as that, and comes whole when there is room."""
    ledger = bench.ledger.parent
    with mounts.small(ledger, "-o", "size=160k"), working(bench, 5000), serve(bench) as served:
        wait_for(lambda: "the ledger cannot be written" in served.get("/").text)
        assert shown(served) == (0, 0)
        assert "the ledger cannot be written" in served.get("/-/ready").text
        subprocess.run(["mount", "-o", "remount,size=16m", str(ledger)], check=True)
        counts(served, 5000)
        assert served.is_ready()


@pytest.mark.root
def test_no_room_at_the_first_start(bench: Bench, tmp_path: Path) -> None:
    """A ledger that cannot be made is one sentence, and leaves nothing that looks like one."""
    with mounts.small(bench.ledger.parent, "-o", "size=8k"):
        done = Place(tmp_path).run("serve", "--ledger.path", str(bench.ledger), *ANYWHERE)
        assert done.returncode == 1
        assert "cannot be created" in done.stderr
        assert list(bench.ledger.parent.iterdir()) == []


@pytest.mark.root
def test_no_room_for_an_empty_ledger_after_damage(bench: Bench) -> None:
    """A ledger found damaged on a full disk stays in its place until there is room for another."""
    bench.clock.ms = a_minute_ago() + 60_000
    filler = bench.ledger.parent / "filler"
    with mounts.small(bench.ledger.parent, "-o", "size=4m"), working(bench, 3000) as work:
        bench.exporter().close()
        exporter = bench.exporter()
        exporter.poll()
        exporter.close()
        damage_keys(bench.ledger)
        damaged = bench.ledger.read_bytes()
        exporter = bench.exporter()
        fill(filler)
        work.add(20)
        for _ in range(3):
            exporter.poll()
            assert exposed(exporter).by("opencode_up", "source") == {}
            assert "cannot be replaced" in exporter.poller.health[SOURCE].problem
            assert bench.ledger.read_bytes() == damaged
        filler.unlink()
        exporter.poll()
        work.add(2)
        exporter.poll()
        assert exposed(exporter).total(CALLS) == 2
        exporter.close()
