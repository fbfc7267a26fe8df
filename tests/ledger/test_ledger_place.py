"""What is no ledger of ours stays as it is, whoever names it with `--ledger.path`."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import pytest

from harness.databases import V1
from harness.exporters import Bench, Exposed, exposed
from harness.pages import counted
from harness.places import TESTS, not_utf8
from harness.processes.command import ANYWHERE, Place
from harness.processes.work import PAGE, damage_keys, overwrite
from harness.real_tools import missing
from harness.recordings import unpack
from ledger.ledger_files import add, mode
from opencode_exporter.errors import ConfigError, LedgerError

WAL_BEGINS = bytes.fromhex("377f0682")
FILLING = """
import os, sys
from pathlib import Path
import apsw
sys.path.insert(0, sys.argv[1])
statements = 0
def die(cursor, sql, bindings):
    global statements
    statements += 1
    if sys.argv[3] in (str(statements), sql.split(" ")[0]):
        os.kill(os.getpid(), 9)
    return True
apsw.connection_hooks.append(lambda db: setattr(db, "exec_trace", die))
from opencode_exporter.ledger.store import Store
Store(Path(sys.argv[2])).close()
"""


def device(path: Path) -> None:
    """Make what /dev/null is."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        missing("making devices is not permitted here: needs root", "root")


def listener(path: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def song_book(path: Path) -> None:
    """Make another program's database."""
    with_songs = apsw.Connection(str(path))
    with_songs.execute("CREATE TABLE song (id)")
    with_songs.close()


def opencode(path: Path) -> None:
    """Make a database of OpenCode, with its newest rows in the WAL as a kill leaves them."""
    other = V1(path.with_name("other"))
    other.message(other.session())
    for end in ("", "-wal"):
        data = path.with_name(f"other{end}").read_bytes()
        path.with_name(path.name + end).write_bytes(data)
    other.close()


def lost(path: Path) -> None:
    """Make what a database is of which nothing but the WAL is left."""
    path.touch()
    path.with_name(f"{path.name}-wal").write_bytes(WAL_BEGINS)


ROOT: Final = pytest.mark.root
KINDS: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "a device": (device, "is no regular file"),
    "a pipe": (os.mkfifo, "is no regular file"),
    "a socket": (listener, "is no regular file"),
    "a directory": (Path.mkdir, "is no regular file"),
    "a letter": (lambda path: path.write_text("Dear Ada, " * 500), "is no ledger"),
    "a short note": (lambda path: path.write_text("x"), "is no ledger"),
    "zeros": (lambda path: path.write_bytes(bytes(8192)), "is no ledger"),
    "an empty file with a WAL": (lost, "is no ledger"),
    "a database": (song_book, "is a database, but no ledger of this exporter"),
    "OpenCode's database": (opencode, "is a database, but no ledger of this exporter"),
}


def all_of(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return the files of a directory: which they are, their modes, and what they hold."""
    found = {}
    for path in directory.rglob("*"):
        facts = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
        found[path.name] = (facts.st_ino, facts.st_mode, data)
    return found


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=ROOT if kind == "a device" else ()) for kind in KINDS],
)
@pytest.mark.parametrize("is_link", [False, True], ids=["named", "linked"])
def test_what_is_no_ledger_stays_as_it_is(kind: str, *, is_link: bool, bench: Bench) -> None:
    """A device, a letter or a link was replaced by a ledger, and a pipe waited for for ever."""
    make, says = KINDS[kind]
    place = bench.directory / "somewhere"
    place.mkdir()
    make(place / "it")
    named = place / "it"
    if is_link:
        named = place / "link"
        named.symlink_to("it")
    before = all_of(place)
    with pytest.raises(LedgerError, match=says) as said:
        bench.exporter(ledger_path=named)
    assert "choose another file with --ledger.path" in said.value.hint
    assert all_of(place) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a pipe", "a letter"])
def test_serve_says_so_in_a_sentence(kind: str, bench: Bench) -> None:
    """Exit code 1 and one line, as for other settings that cannot be used."""
    KINDS[kind][0](bench.directory / "it")
    words = ("serve", f"--ledger.path={bench.directory / 'it'}", *ANYWHERE)
    done = Place(bench.directory).run(*words)
    assert done.returncode == 1
    assert done.stderr.startswith(f"opencode-exporter: {bench.directory / 'it'} is no ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("is_link", [False, True], ids=["named", "linked"])
def test_a_source_is_no_ledger(end: str, *, is_link: bool, bench: Bench) -> None:
    """Neither one that is there, nor one that OpenCode has not made yet, nor what lies beside."""
    source = bench.source
    if is_link:
        source = bench.directory / "link.db"
        source.symlink_to(bench.source)
    for _ in range(2):
        before = all_of(bench.directory)
        with pytest.raises(ConfigError, match="a database that is read"):
            bench.exporter(ledger_path=Path(f"{bench.source}{end}"), source_paths=(source,))
        assert all_of(bench.directory) == before
        add(bench, 1)


def test_a_ledger_is_not_found_as_a_source(bench: Bench) -> None:
    """One that would be found where databases are looked for would be polled, and lose its lock."""
    where = (bench.directory,)
    with pytest.raises(ConfigError, match="would be"):
        bench.exporter(ledger_path=bench.directory / "opencode-counts.db", source_paths=where)
    bench.exporter(ledger_path=bench.directory / "counts.db", source_paths=where).close()


def shown(bench: Bench, ledger: Path) -> Exposed:
    """Return what an exporter on a ledger shows after a poll."""
    exporter = bench.exporter(ledger_path=ledger)
    try:
        exporter.poll()
        return exposed(exporter)
    finally:
        exporter.close()


@pytest.mark.parametrize("name", ["ledger.db", "opencode-exporter/ledger.db"])
@pytest.mark.parametrize("is_link", [False, True], ids=["named", "linked"])
def test_an_empty_file_becomes_the_ledger(name: str, *, is_link: bool, bench: Bench) -> None:
    """It was set aside as damaged, and the history did not count; `touch` had made it."""
    add(bench, 3)
    ledger = named = bench.directory / name
    ledger.parent.mkdir(exist_ok=True)
    ledger.touch(mode=0o640)
    before = ledger.stat()
    if is_link:
        named = bench.directory / "link"
        named.symlink_to(ledger)
    for _ in range(2):
        assert counted(shown(bench, named)) == {("read", "completed"): 3}
    assert (ledger.stat().st_ino, ledger.stat().st_mode) == (before.st_ino, before.st_mode)
    assert named.is_symlink() == is_link
    assert not list(bench.directory.rglob("*.corrupt-*"))


@pytest.mark.slow
@pytest.mark.parametrize("at", [*map(str, range(1, 25)), ""])
def test_killed_while_an_empty_file_becomes_the_ledger(at: str, bench: Bench) -> None:
    """SIGKILL at any statement leaves what the next start makes a ledger of."""
    ledger = bench.directory / "touched"
    ledger.touch()
    command = [sys.executable, "-c", FILLING, str(TESTS), str(ledger), at]
    died = subprocess.run(command, check=False, timeout=60)
    assert died.returncode == (-9 if at else 0) or at.isdecimal()
    add(bench, 3)
    for _ in range(2):
        assert counted(shown(bench, ledger)) == {("read", "completed"): 3}
    assert not list(bench.directory.glob("*.corrupt-*"))


@pytest.mark.parametrize("target", ["ledger", "nowhere/yet/ledger"])
def test_a_link_to_nothing_is_kept(target: str, bench: Bench) -> None:
    """The ledger is made where it points to, and used there from then on."""
    add(bench, 3)
    link = bench.directory / "link.db"
    link.symlink_to(target)
    for _ in range(2):
        assert counted(shown(bench, link)) == {("read", "completed"): 3}
    assert link.is_symlink()
    assert mode(bench.directory / target) == 0o600


def test_the_size_of_a_linked_ledger_has_its_wal(bench: Bench) -> None:
    """The WAL lies beside the target; beside the link there was none."""
    add(bench, 3)
    link, ledger = bench.directory / "link.db", bench.directory / "elsewhere" / "ledger"
    link.symlink_to(ledger)
    exporter = bench.exporter(ledger_path=link)
    exporter.poll()
    assert exporter.ledger.size() == sum(path.stat().st_size for path in ledger.parent.iterdir())
    assert len(list(ledger.parent.iterdir())) == 2
    exporter.close()


@pytest.mark.parametrize("while_it_runs", [False, True])
def test_a_link_to_a_damaged_ledger_is_kept(bench: Bench, *, while_it_runs: bool) -> None:
    """The target is set aside, where it is and with its mode; the link was."""
    add(bench, 3)
    link, ledger = bench.directory / "link.db", bench.directory / "elsewhere" / "ledger"
    link.symlink_to(ledger)
    shown(bench, link)
    ledger.chmod(0o640)
    if while_it_runs:
        damage_keys(ledger)  # nobody asks for one before there is something new
    else:
        overwrite(ledger, PAGE, ledger.stat().st_size)
    exporter = bench.exporter(ledger_path=link)
    assert bool(list(ledger.parent.glob("*.corrupt-*"))) != while_it_runs
    add(bench, 50)
    exporter.poll()
    exporter.close()
    assert link.is_symlink()
    assert link.resolve() == ledger
    assert list(ledger.parent.glob("ledger.corrupt-*"))
    assert mode(ledger) == 0o640


def test_names_that_are_not_utf8(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A ledger whose path is Latin-1 ended the process; it is made, held, damaged and replaced."""
    add(bench, 3)
    ledger = not_utf8(bench.directory, "café") / "opencode-exporter" / "ledger.db"
    for _ in range(2):
        assert counted(shown(bench, ledger)) == {("read", "completed"): 3}
    ledger.write_bytes(b"nonsense")
    exporter = bench.exporter(ledger_path=ledger)
    exporter.poll()
    assert "kept aside" in caplog.text
    (row,) = [row for row in exporter.pages.landing().rows if row.label == "ledger"]
    assert row.path.endswith("/caf\\xe9/opencode-exporter/ledger.db")
    with pytest.raises(LedgerError, match=r"caf\\xe9"):
        bench.exporter(ledger_path=ledger.parent)
    exporter.close()


@pytest.mark.slow
def test_backfill_makes_no_ledger_of_an_empty_file(bench: Bench) -> None:
    """It only reads: that there is none is what it says, and the file stays empty."""
    place = Place(bench.directory)
    unpack("turns-2.0.15", place.source.parent)
    empty = bench.directory / "ledger.db"
    empty.touch()
    words = ("--label=job=opencode", "--label=instance=ada", "--output=-")
    done = place.run("backfill", f"--source.path={place.source}", f"--ledger.path={empty}", *words)
    assert done.returncode == 1
    assert "there is no ledger" in done.stderr
    assert empty.stat().st_size == 0
