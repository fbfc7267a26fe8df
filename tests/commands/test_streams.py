"""Standard streams that are closed, full or no longer read: a sentence, and no harm done."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from commands.backfill_flags import LABELS, flags
from harness.processes.command import ANYWHERE, Place
from harness.processes.ports import free_port
from harness.recordings import unpack
from harness.waiting import PATIENCE_S, wait_for
from opencode_exporter.commands.cli import cli

COMMANDS = cli.commands
PRINTING = {
    "once": ("once", "{source}"),
    "report": ("report", "{source}"),
    "report as JSON": ("report", "{source}", "--format=json"),
    "check": ("check", "{source}"),
    "backfill": ("backfill", "{source}", "{ledger}", *LABELS, "--output=-"),
    "version": ("--version",),
    "help": ("--help",),
    **{f"help of {name}": (name, "--help") for name in COMMANDS},
}
"""What prints, by what it is called here."""
COMPLETION = {"_OPENCODE_EXPORTER_COMPLETE": "bash_source"}
SILENT = {"serve", "demo"}
FREE = "free space, or let it go elsewhere"
COMMAND = (sys.executable, "-m", "opencode_exporter")

each_that_prints = pytest.mark.parametrize("name", [*PRINTING, "completion"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home in which an exporter has counted a recording, and was stopped."""
    place = Place(tmp_path_factory.mktemp("place"))
    unpack("turns-2.0.15", place.source.parent)
    with place.running("serve", *flags(place), *ANYWHERE) as (process, _):
        wait_for(lambda: "history counted" in place.log.read_text())
        assert process.stop() == 0
    return place


def words_of(name: str, place: Place) -> list[str]:
    """Return the words of what prints."""
    own = {"source": f"--source.path={place.source}", "ledger": f"--ledger.path={flags(place)[3]}"}
    return [word.format(**own) for word in PRINTING.get(name, ())]


def run(place: Place, name: str, redirected: str, **more: str) -> tuple[int, list[str]]:
    """Run what prints with a redirection of the shell; return code and lines on stderr."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *COMMAND, *words_of(name, place)],
        capture_output=True,
        env=place.environment({"OPENCODE_EXPORTER_LOG_LEVEL": "error", **variables(name), **more}),
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr.splitlines()


def variables(name: str) -> Mapping[str, str]:
    """Return the environment that what prints needs."""
    return COMPLETION if name == "completion" else {}


def test_every_command_is_tried() -> None:
    """A command that is new has to say where its words go."""
    assert {words[0] for words in PRINTING.values()} | SILENT == {
        *COMMANDS,
        *("--version", "--help"),
    }


@pytest.mark.slow
@each_that_prints
@pytest.mark.parametrize(
    ("redirected", "sentence"),
    [
        (">&-", "standard output is closed: let it go to a file or a pipe"),
        (
            ">/dev/full",
            "standard output cannot be written (No space left on device): " + FREE,
        ),
    ],
    ids=["closed", "full"],
)
def test_output_that_cannot_be_written_is_one_sentence(
    name: str, redirected: str, sentence: str, place: Place
) -> None:
    """Exit code 1 and what is wrong, once: no traceback, and nothing at the very end."""
    more = {"PYTHONUNBUFFERED": "1"} if name in ("once", "help") else {}
    code, said = run(place, name, redirected, **more)
    assert (code, said) == (1, [f"opencode-exporter: {sentence}"])


@pytest.mark.slow
@each_that_prints
def test_reader_that_has_gone_is_no_trouble(name: str, place: Place) -> None:
    """As behind `head -1`: it ends, not with 0, and says nothing."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [*COMMAND, *words_of(name, place)],
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=place.environment({"OPENCODE_EXPORTER_LOG_LEVEL": "error", **variables(name)}),
            check=False,
            timeout=60,
        )
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.slow
@each_that_prints
@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_log_that_cannot_be_written_changes_nothing(
    name: str, redirected: str, place: Place
) -> None:
    """What is printed is whole, and the exit code what it would be."""
    out = place.home / "out"
    code, _ = run(place, name, f"{redirected} >{out}", OPENCODE_EXPORTER_LOG_LEVEL="info")
    assert code == 0
    assert out.stat().st_size > 30


@pytest.mark.slow
def test_output_that_is_full_for_a_while_is_waited_for(place: Place) -> None:
    """A pipe that does not block, as some programs leave theirs, gets all the same."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with subprocess.Popen(
        [*COMMAND, *words_of("once", place)], stdout=theirs, env=place.environment()
    ) as process:
        os.close(theirs)
        with open(ours, "rb") as page:  # noqa: PTH123  # a number, no path
            assert process.poll() is None
            told = page.read()
        assert process.wait(20) == 0
    assert len(told) > 70_000  # more than a pipe holds
    assert told.endswith(b"\n")


# serve.


@contextmanager
def serving(
    place: Place, redirected: str, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Serve with a redirection of the shell, until the block ends."""
    target = f"127.0.0.1:{free_port()}"
    words = ("serve", f"--ledger.path={place.home}/own.db", f"--web.listen-address={target}")
    with subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *COMMAND, *words],
        env=place.environment(),
        stderr=stderr,
    ) as process:
        try:
            wait_for(lambda: answers(target))
            yield process
        finally:
            process.kill()


def answers(target: str) -> bool:
    """Return whether a server is there."""
    try:
        return httpx.get(f"http://{target}/-/healthy", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def open_files(process: subprocess.Popen[bytes]) -> dict[int, str]:
    """Return what stands behind each number of a process."""
    found = {}
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(path.name)] = str(path.readlink())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirected", "closed"),
    [
        ("", set()),
        (">&-", {1}),
        ("2>&-", {2}),
        ("<&-", {0}),
        ("<&- >&- 2>&-", {0, 1, 2}),
        (">/dev/full 2>/dev/full", set()),
    ],
)
def test_serve_needs_no_stream(redirected: str, closed: set[int], place: Place) -> None:
    """It serves and ends well, and no ledger or socket gets the number of a stream."""
    with serving(place, redirected) as process:
        behind = open_files(process)
        assert str(place.home / "own.db") in behind.values()
        assert {number for number in closed if behind[number] != "/dev/null"} == set()
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_serve_goes_on_when_nobody_reads_its_log(place: Place) -> None:
    """A pipe whose reader has gone costs the log, and nothing else."""
    ours, theirs = os.pipe()
    os.close(ours)
    with serving(place, "", theirs) as process:
        os.close(theirs)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
