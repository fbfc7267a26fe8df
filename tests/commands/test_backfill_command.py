"""The command `backfill`: what it asks for, what it says, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from commands.backfill_flags import LABELS, flags, ledger
from commands.backfilling import SCRAPE, Past
from harness import mounts
from harness.clock import HOUR_MS
from harness.exporters import Exposed
from harness.processes.command import ANYWHERE, Place
from harness.processes.process import Process
from harness.processes.work import PAGE, overwrite
from harness.real_tools import missing
from harness.recordings import unpack
from harness.waiting import wait_for
from opencode_exporter.commands.backfill import Job, Written, advice
from opencode_exporter.demo import Demo
from opencode_exporter.ledger.place import take_after

DAY_MS = 24 * HOUR_MS


@pytest.fixture
def counted(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home in which an exporter has counted a recording, and was stopped."""
    place = Place(tmp_path_factory.mktemp("place"))
    unpack("turns-2.0.15", place.source.parent)
    with place.running("serve", *flags(place), *ANYWHERE) as (process, _):
        wait_for(lambda: "history counted" in place.log.read_text())
        assert process.stop() == 0
    return place


def refused(place: Place, *words: str, code: int = 1) -> str:
    """Return what the command says when it does not do it; it leaves no file."""
    output = place.home / "history.om"
    done = place.run("backfill", "--output", str(output), *words)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not list(place.home.glob("history.om*"))
    return done.stderr


@pytest.mark.slow
def test_it_writes_a_file_and_says_what_to_do_with_it(counted: Place) -> None:
    """All is in the file, the ledger is as before, and the user knows how to go on."""
    output = counted.home / "a history.om"
    before = contents(counted)
    done = counted.run("backfill", *flags(counted), *LABELS, "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    past = Past.of(output)
    page = Exposed(counted.run("once", *flags(counted)[:2]).stdout)
    calls = "opencode_tool_invocations_total"
    assert past.total(calls, 1 << 62) == page.total(calls) > 0
    assert output.read_bytes().endswith(b"\n# EOF\n")
    assert f"'{output}' DATA_DIRECTORY_OF_PROMETHEUS" in done.stderr
    assert "--storage.tsdb.retention.time=" in done.stderr
    assert contents(counted) == before
    assert sorted(path.name for path in counted.home.iterdir()) == ["a history.om", "state"]


def contents(place: Place) -> dict[str, list[Any]]:
    """Return all that a ledger holds."""
    db = apsw.Connection(str(ledger(place)), flags=apsw.SQLITE_OPEN_READONLY)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    found = {table: list(db.execute(f"SELECT * FROM {table}")) for table in tables}
    db.close()
    return found


@pytest.mark.slow
def test_dash_writes_to_standard_output(counted: Place) -> None:
    """It can be piped, and what it says to people is not among it."""
    done = counted.run("backfill", *flags(counted), *LABELS, "--output=-", "--step=1h")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# HELP opencode_")
    assert done.stdout.endswith("# EOF\n")
    assert "    FILE DATA_DIRECTORY_OF_PROMETHEUS" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "job is missing"),
        (("--label", "job=opencode"), "instance is missing"),
        ((*LABELS, "--label", "job=other"), "a label is given twice"),
        ((*LABELS, "--label", "tool=read"), "'tool' is a label of the metrics themselves"),
        ((*LABELS, "--label", "le=1"), "'le' is a label of the metrics themselves"),
        ((*LABELS, "--label", "__name__=x"), "is no label"),
        ((*LABELS, "--label", "team"), "is no label"),
        ((*LABELS, "--label", "team=a\nb"), "is no label"),
        ((*LABELS, "--step", "0s"), "is not a duration"),
        ((*LABELS, "--step", "500ms"), "write whole seconds"),
        ((*LABELS, "--step", "32d"), "up to 31d"),
        ((*LABELS, "--until", "soon"), "is neither a duration nor a date"),
    ],
)
def test_a_command_line_without_sense_is_refused(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    """Exit code 2 and a sentence, before anything is read."""
    assert said in refused(Place(tmp_path), *words, code=2)


@pytest.mark.slow
def test_more_labels_are_on_every_series(counted: Place) -> None:
    """What a scrape adds to its targets can be added here."""
    output = counted.home / "history.om"
    words = (*LABELS, "--label", 'team=a "b" \\c', "--output", str(output))
    assert counted.run("backfill", *flags(counted), *words).returncode == 0
    past = Past.of(output)
    labels = {pair for series in past.series.values() for one in series for pair in one}
    assert ("team", 'a "b" \\c') in labels
    assert not labels & set(SCRAPE.items())


@pytest.mark.slow
def test_a_ledger_is_needed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without one nobody knows where the history ends; none is made."""
    place = Place(tmp_path_factory.mktemp("place"))
    unpack("turns-2.0.15", place.source.parent)
    said = refused(place, *flags(place), *LABELS)
    assert "there is no ledger" in said
    assert "start the exporter first" in said
    assert not ledger(place).exists()


@pytest.mark.slow
def test_a_history_that_is_not_in_yet_is_waited_for(counted: Place) -> None:
    """A ledger without a baseline has no totals to count back from."""
    db = apsw.Connection(str(ledger(counted)))
    db.execute("DELETE FROM meta WHERE name = 'baseline_ms'")
    db.close()
    assert "let the exporter run until it is ready" in refused(counted, *flags(counted), *LABELS)


@pytest.mark.slow
def test_the_exporter_has_to_be_stopped(counted: Place) -> None:
    """A running one holds the ledger, and the sentence says so."""
    with counted.running("serve", *flags(counted), *ANYWHERE):
        assert "another exporter holds the ledger" in refused(counted, *flags(counted), *LABELS)


@pytest.mark.slow
def test_a_damaged_ledger_is_left_where_it_is(counted: Place) -> None:
    """To keep it aside is for the exporter, which then counts on."""
    overwrite(ledger(counted), PAGE, ledger(counted).stat().st_size)
    damaged = ledger(counted).read_bytes()
    assert "is damaged" in refused(counted, *flags(counted), *LABELS)
    assert ledger(counted).read_bytes() == damaged


@pytest.mark.slow
def test_until_is_before_the_baseline(counted: Place) -> None:
    """What came after it is in the scrapes."""
    said = refused(counted, *flags(counted), *LABELS, "--until", "2100-01-01")
    assert "before --until" in said


@pytest.mark.slow
def test_a_source_that_cannot_be_read_stops_it(counted: Place) -> None:
    """A history without it would be too small; the file from last time stays."""
    output = counted.home / "history.om"
    output.write_text("as it was")
    words = ("--source.path", str(counted.home / "gone.db"), *flags(counted)[2:])
    done = counted.run("backfill", *words, *LABELS, "--output", str(output))
    assert done.returncode == 1
    assert "gone.db: there is no database" in done.stderr
    assert output.read_text() == "as it was"
    assert not list(counted.home.glob("*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "-wal"])
@pytest.mark.parametrize("which", ["source", "ledger"])
def test_what_is_read_is_not_written_over(which: str, end: str, counted: Place) -> None:
    """Neither OpenCode's database nor the ledger, by whatever name."""
    target = counted.source if which == "source" else ledger(counted)
    (counted.home / "link").symlink_to(target.with_name(target.name + end))
    before = target.read_bytes()
    for output in (target.with_name(target.name + end), counted.home / "link"):
        done = counted.run("backfill", *flags(counted), *LABELS, "--output", str(output))
        assert done.returncode == 1
        assert "is a database that is read" in done.stderr
    assert target.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("output", ["", ".", "/"])
def test_a_directory_is_no_file(output: str, tmp_path: Path) -> None:
    """It is said before anything is read."""
    done = Place(tmp_path).run("backfill", *LABELS, "--output", output)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o400])
def test_a_file_keeps_its_mode(mode: int, counted: Place) -> None:
    """What nobody else could read was there for all to read after it was written anew."""
    output = counted.home / "history.om"
    output.touch()
    output.chmod(mode)
    (counted.home / "link").symlink_to(output)
    words = ("--output", str(counted.home / "link"))
    assert counted.run("backfill", *flags(counted), *LABELS, *words).returncode == 0
    assert output.read_bytes().endswith(b"# EOF\n")
    assert stat.S_IMODE(output.stat().st_mode) == mode


@contextmanager
def writing(counted: Place, output: Path) -> Iterator[Process]:
    """Start a backfill that would write gigabytes; it does not outlive the test, come what may."""
    words = ("backfill", *flags(counted), *LABELS, "--step=1s", "--output", str(output))
    command = [sys.executable, "-m", "opencode_exporter", *words]
    with Process(command, counted.log, environment=counted.environment()) as process:
        yield process


@pytest.mark.slow
def test_a_file_is_as_private_while_it_is_written(counted: Place) -> None:
    """The file beside it, which takes its place in the end, could be read by all."""
    output = counted.home / "history.om"
    output.touch(mode=0o600)
    with writing(counted, output):
        (part,) = wait_for(lambda: list(counted.home.glob("*.part")))
        assert stat.S_IMODE(part.stat().st_mode) == 0o600


@pytest.mark.root
@pytest.mark.parametrize("may", [True, False])
def test_a_mode_for_another_group_is_not_taken_over(
    may: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group may read a file: where the new one cannot be given to it, its own group may not."""
    old, new = tmp_path / "old", tmp_path / "new"
    for path in (old, new):
        path.touch(mode=0o600)
    old.chmod(0o640)
    try:
        os.chown(old, -1, 12345)
    except PermissionError:
        missing("files cannot be given to other groups here: needs root", "root")

    def refuses(*_: object) -> None:
        raise PermissionError

    if not may:
        monkeypatch.setattr(os, "chown", refuses)
    take_after(new, old)
    assert stat.S_IMODE(new.stat().st_mode) == (0o640 if may else 0o600)
    assert (new.stat().st_gid == 12345) is may


@pytest.mark.slow
def test_a_pipe_gets_what_is_written(counted: Place) -> None:
    """A named pipe stays one, and whoever reads it has all."""
    pipe, got = counted.home / "pipe", counted.home / "got"
    os.mkfifo(pipe)
    with Process(["cp", pipe, got]) as reader:
        done = counted.run("backfill", *flags(counted), *LABELS, "--output", str(pipe))
        assert done.returncode == 0, done.stderr
        assert reader.wait() == 0
    assert got.read_bytes().endswith(b"# EOF\n")
    assert pipe.is_fifo()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_ends_at_any_time_and_leaves_nothing(number: signal.Signals, counted: Place) -> None:
    """A signal while it writes: the file is not there, and neither is half of it."""
    with writing(counted, counted.home / "history.om") as process:
        wait_for(lambda: any(part.stat().st_size for part in counted.home.glob("*.part")))
        process.send(number)
        assert process.wait() == 128 + number
    assert not list(counted.home.glob("history*"))


@pytest.mark.root
def test_no_room_for_temporary_files_is_said(counted: Place) -> None:
    """It fails in the middle of a read, and is not taken for a fault of the database."""
    small = counted.home / "small"
    demo = Demo(counted.source.parent / "large", history_days=20)
    demo.create()
    demo.close()
    words = ("--source.path", str(demo.path), *flags(counted)[2:], *LABELS, "--step=1m")
    with mounts.small(small, "-o", "size=1m"):
        output = counted.home / "history.om"
        done = counted.run("backfill", *words, "--output", str(output), SQLITE_TMPDIR=str(small))
    assert done.returncode == 1
    assert "the temporary database of the history cannot be used" in done.stderr
    assert "TMPDIR" in done.stderr
    assert "please report" not in done.stderr
    assert not output.exists()


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_said(counted: Place) -> None:
    """The directory is not there."""
    output = counted.home / "nowhere" / "history.om"
    done = counted.run("backfill", *flags(counted), *LABELS, "--output", str(output))
    assert done.returncode == 1
    assert "cannot be written (No such file or directory)" in done.stderr


@pytest.mark.parametrize(
    ("ago_ms", "days", "waits"),
    [(DAY_MS, 32, False), (2 * HOUR_MS, 31, True), (3 * HOUR_MS, 31, False)],
)
def test_advice_says_how_long_to_keep_and_to_wait(ago_ms: int, days: int, waits: bool) -> None:
    """Retention reaches back to the first sample; the last three hours are Prometheus' own."""
    now_ms = 1_795_000_000_000
    last_ms = now_ms - ago_ms
    written = Written(last_ms - 29 * DAY_MS - DAY_MS // 2, last_ms, 7, 1_234_567)
    job = Job(Path("ledger.db"), Path("history.om"), SCRAPE, 3600)
    said = advice(job, written, now_ms)
    assert f"--storage.tsdb.retention.time={days}d" in said
    assert said.startswith("1,234,567 samples of 7 series, from 2026-")
    assert ("do this after" in said) is waits
