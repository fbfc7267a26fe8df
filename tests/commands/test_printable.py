"""No byte of a database, a path or a command line is obeyed by a terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console

from commands.backfilling import SCRAPE
from harness.databases import V1
from harness.exporters import Bench
from harness.processes.command import ANYWHERE, Place
from opencode_exporter.commands import logs
from opencode_exporter.commands.backfill import Job, Written, advice
from opencode_exporter.commands.terminal import ProgressBar
from opencode_exporter.errors import printable

EVIL = "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b31m\u202egnp\u2066\u200f\u2028\r[red]:bug:"
"""Title, screen and colour of a terminal, the direction of a text, and what rich understands."""
LABELS = ("--label=job=opencode", "--label=instance=ada", "--output=-")


def acting(text: str) -> set[str]:
    """Return what a text does besides being read: all but the ends of its lines."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {char for char in text if unicodedata.category(char) in kinds} - {"\n"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home whose database is as evil as its name."""
    place = Place(tmp_path)
    place.source = tmp_path / f"data{EVIL}" / "opencode.db"
    with V1(place.source) as db:
        session = db.session(version=f"1.18.33{EVIL}", project=f"orchard{EVIL}")
        message = db.message(session, agent=f"build{EVIL}", modelID=f"reef{EVIL}")
        db.tool(message, tool=f"fetch{EVIL}")
        db.tool(message, tool="skill", input={"name": f"tidy{EVIL}"})
        db.rewrite_message(message, completed=db.tick(), finish=f"stop{EVIL}")
    return place


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["check"], ["report"], ["report", "--format=json"], ["once"], ["once", "--log.format=logfmt"]],
)
def test_what_a_database_holds_is_text_alone(words: list[str], place: Place) -> None:
    """The version that wrote the database, and its path, were obeyed on the terminal of `check`."""
    done = place.run(*words, f"--source.path={place.source}")
    assert done.returncode == 0, done.stderr
    assert "1.18.33" in done.stdout
    assert acting(done.stdout) == set()
    assert acting(done.stderr) == set()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["terminal", "json"])
def test_a_report_on_a_project_is_text_alone(form: str, place: Place) -> None:
    """The name that was asked for is on the page, and one in Latin-1 could not be encoded."""
    words = ("report", f"--source.path={place.source}", f"--format={form}")
    for name, seen in ((EVIL, "title"), (os.fsdecode(b"caf\xe9"), "caf")):
        done = place.run(*words, f"--project={name}")
        assert done.returncode == 0, done.stderr
        assert seen in done.stdout
        assert acting(done.stdout) == set()


@pytest.mark.slow
def test_the_landing_page_is_text_alone(place: Place, bench: Bench) -> None:
    """A browser obeys marks of direction."""
    exporter = bench.exporter(source_paths=(place.source,), in_memory=True)
    exporter.poll()
    (row,) = exporter.pages.landing().rows
    exporter.close()
    assert "1.18.33" in row.state
    assert "data" in row.path
    assert acting(row.state + row.path) == set()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "report", "once"])
@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_what_is_told_of_a_path_is_text_alone(command: str, form: str, place: Place) -> None:
    """There is no such database, and its name is in what is said."""
    missing = place.source.with_name(f"opencode{EVIL}.db")
    more = () if command == "check" else (f"--log.format={form}",)
    done = place.run(command, f"--source.path={missing}", *more)
    assert done.returncode == 1
    assert r"opencode\x1b]0;title\x07" in done.stdout + done.stderr.replace("\\\\", "\\")
    assert acting(done.stdout + done.stderr) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [f"--no-such-flag{EVIL}"],
        ["serve", f"--no-such-flag{EVIL}=1"],
        [f"--config.file=/nowhere{EVIL}"],
        ["serve", f"--ledger.path=/dev/null/x{EVIL}", *ANYWHERE],
        ["serve", f"--ledger.path=/proc/x{EVIL}/x", *ANYWHERE],
        ["serve", f"--web.config.file=/nowhere{EVIL}"],
        ["serve", f"--web.listen-address={EVIL}"],
        ["serve", f"--watch.interval={EVIL}"],
        ["serve", f"--history={EVIL}"],
        ["serve", f"--tool.include=({EVIL}", *ANYWHERE],
        ["report", f"--since={EVIL}"],
        ["report", f"--top={EVIL}"],
        ["backfill", f"--ledger.path=/nowhere{EVIL}", *LABELS],
        ["backfill", f"--label={EVIL}", *LABELS],
        ["backfill", *LABELS[:2], f"--output=/nowhere{EVIL}/x"],
    ],
    ids=lambda words: "-".join(word.partition("=")[0] for word in words[:2]).partition(EVIL)[0],
)
def test_what_is_said_of_a_command_line_is_text_alone(words: list[str], place: Place) -> None:
    """A flag that is not understood is quoted, and what it names is as well."""
    done = place.run(*words)
    assert done.returncode in (1, 2)
    assert done.stderr
    assert acting(done.stdout + done.stderr) == set()


@pytest.mark.slow
def test_a_configuration_file_is_quoted_as_text(place: Place) -> None:
    """Its path, its keys and its values, which may be anything that TOML can spell."""
    evil = place.home / f"config{EVIL}.toml"
    for content in (
        '"\\u001b[2J" = 1',
        '[log]\nlevel = "\\u001b[2J\\u202e"',
        "[log]\nlevel = 1",
        "\x1b",
    ):
        evil.write_text(content)
        done = place.run("--config.file", str(evil), "serve")
        assert done.returncode in (1, 2)
        assert done.stderr
        assert acting(done.stderr) == set()


@pytest.mark.slow
def test_the_environment_is_quoted_as_text(place: Place) -> None:
    """Where to push may be anything, too."""
    done = place.run("serve", *ANYWHERE, OTEL_EXPORTER_OTLP_ENDPOINT=f"htp://x{EVIL}")
    assert done.returncode == 2
    assert acting(done.stderr) == set()


def test_a_traceback_in_logfmt_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Line ends are escaped once, all else that acts as well."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure("info", "logfmt")
        try:
            int(EVIL)
        except ValueError:
            logging.getLogger("x").exception("it failed", extra={"path": Path(EVIL)})
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback (most recent call last):\\n" in said
    assert acting(said) == set()


def test_progress_takes_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with brackets was markup to the bar, and one that closed nothing ended the read."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    bar = ProgressBar()
    bar._on_terminal = True
    bar._bar.console.file = io.StringIO()
    with bar:
        bar.show("opencode-[/x].db", 0.5, 7)
        bar._bar.refresh()
    console = Console(width=200)
    with console.capture() as shown:
        console.print(bar._bar.get_renderable())
    assert "reading history of opencode-[/x].db" in shown.get()


def test_advice_names_a_file_as_a_shell_takes_it() -> None:
    """It is there to be pasted, whatever the file is called."""
    written = Written(1_795_000_000_000, 1_795_000_000_000)
    for name, pasted in (
        ("history.om", "./history.om"),
        ("my history.om", "'./my history.om'"),
        ("it's \x1b[2J.om", r"$'./it\'s \x1b[2J.om'"),
        (os.fsdecode(b"caf\xe9\\.om"), r"$'./caf\xe9\\.om'"),
    ):
        job = Job(Path("ledger.db"), Path(name), SCRAPE, 3600)
        assert f"    {pasted} DATA_DIRECTORY_OF_PROMETHEUS" in advice(job, written, 0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("opencode.db", "opencode.db"),
        ("Zoë/新しい\u3000フォルダ/\U0001f41b", "Zoë/新しい\u3000フォルダ/\U0001f41b"),
        ("a\u00a0b", "a\u00a0b"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\x1b[31m\x9b", r"\x1b[31m\x9b"),
        ("\u202e\u2066\u200b\u2028", r"\u202e\u2066\u200b\u2028"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("a\nb\tc", r"a\nb\tc"),
        ("", ""),
    ],
)
def test_what_can_be_seen_stays(text: str, shown: str) -> None:
    """Every script of the world does; what acts is written as what it is."""
    assert printable(text) == shown
    assert printable(shown) == shown
    assert json.loads(json.dumps(printable(text)).encode()) == shown


def test_what_is_kept() -> None:
    """The ends of lines may stay where lines are meant."""
    assert printable("a\nb\x1b\n", keep="\n") == "a\nb\\x1b\n"
