"""A path that is not UTF-8 works like any other, is shown escaped, and concerns nobody else."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import mounts
from harness.databases import V1
from harness.exporters import Bench, Exposed, exposed
from harness.places import not_utf8
from harness.processes.command import Place
from harness.recordings import unpack
from opencode_exporter.commands.check import filesystem
from opencode_exporter.commands.check import mounted as listed
from opencode_exporter.service import source_poll
from opencode_exporter.web.landing import render_landing

CALLS = "opencode_tool_invocations_total"


@pytest.fixture
def odd(bench: Bench) -> Path:
    """A database in a directory with a Latin-1 name, which has one too."""
    return not_utf8(bench.directory, "café") / os.fsdecode(b"opencode-\xe9.db")


def filled(path: Path, calls: int = 1) -> V1:
    """Return a database with calls in it, still open."""
    database = V1(path)
    message = database.message(database.session())
    for _ in range(calls):
        database.tool(message)
    return database


def closed(path: Path) -> None:
    """Leave a database that nobody has open, without a WAL."""
    filled(path).close()


def rolled(path: Path) -> None:
    """Leave one that has no WAL at all."""
    database = filled(path)
    database.db.pragma("journal_mode", "DELETE")
    database.close()


@pytest.mark.parametrize("leave", [closed, rolled, filled])
def test_a_database_is_read(bench: Bench, odd: Path, leave: Callable[[Path], V1 | None]) -> None:
    """It could not be read, or ended the process as soon as its name was on the page."""
    there = leave(odd)
    closed(bench.source)
    exporter = bench.exporter(source_paths=(odd, bench.source))
    for _ in range(2):  # the first poll holds locks, and the next would hold none
        exporter.poll()
        page = exposed(exporter)
        for label in ("opencode-\\xe9.db", "opencode.db"):
            assert page.value("opencode_up", source=label) == 1
        assert page.total(CALLS) == 2
    assert (
        "opencode-\\\\xe9.db"
        in exporter.pages.metrics("application/openmetrics-text").body.decode()
    )
    landing = html.unescape(render_landing(exporter.pages.landing(), "/metrics"))
    assert f"{bench.directory}/caf\\xe9/opencode-\\xe9.db" in landing.encode().decode()
    exporter.close()
    if there is not None:
        there.close()


def test_new_calls_are_read_beside_a_writer(bench: Bench, odd: Path) -> None:
    """Live databases, where every poll has to take locks: the one without is a name for apsw."""
    with filled(odd) as there:
        exporter = bench.exporter(source_paths=(odd,))
        for calls in (1, 2, 3):
            exporter.poll()
            assert exposed(exporter).total(CALLS) == calls
            there.tool(there.message(there.session()))
        exporter.close()


def test_other_processes_read_a_long_one(
    bench: Bench, odd: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are told the path by their input, which is JSON."""
    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    filled(odd, 20).close()
    assert bench.read_once(source_paths=(odd,)).total(CALLS) == 20
    assert not caplog.records or "reader" not in caplog.text


def test_one_that_is_not_there_is_told(bench: Bench, odd: Path) -> None:
    """What is told of it can be encoded, on every page; the others are read."""
    closed(bench.source)
    exporter = bench.exporter(source_paths=(odd, bench.source))
    exporter.poll()
    page = exposed(exporter)
    assert page.value("opencode_up", source="opencode-\\xe9.db") == 0
    assert page.value("opencode_up", source="opencode.db") == 1
    exporter.close()
    exporter = bench.exporter(source_paths=(odd,), in_memory=True)
    exporter.poll()
    assert (exporter.pages.not_ready() or "").startswith("No database can be read: opencode-\\xe9")
    exporter.close()


def test_one_beside_a_missing_one_is_named(bench: Bench, odd: Path) -> None:
    """The hint names it as everything else does."""
    closed(odd)
    exporter = bench.exporter(source_paths=(odd.with_name("opencode.db"),), in_memory=True)
    exporter.poll()
    assert r"'opencode-\xe9.db' beside it has OpenCode's" in (exporter.pages.not_ready() or "")
    exporter.close()


def test_names_that_are_shown_alike_are_told_apart(bench: Bench, odd: Path) -> None:
    """A byte that is not UTF-8, and a file whose name spells its escape."""
    spelled = bench.directory / r"opencode-\xe9.db"
    for path in (odd, spelled):
        closed(path)
    page = bench.read_once(source_paths=(odd, spelled))
    assert page.by("opencode_up", "source") == {
        (r"opencode-\xe9.db",): 1,
        (r"opencode-\xe9.db~2",): 1,
    }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home whose name is Latin-1, with a database, a skill and a configuration."""
    place = Place(tmp_path)
    place.home = not_utf8(tmp_path, "Zoë") / "home"
    place.home.mkdir(parents=True)
    unpack("2.0.15", place.home / ".local" / "share" / "opencode")
    skill = place.home / ".config" / "opencode" / "skills" / "tidy-up" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: tidy-up\ndescription: How we tidy up.\n---\n")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("command", ["once", "report", "check"])
def test_commands_in_a_home_that_is_not_utf8(command: str, place: Place) -> None:
    """They find all that is in it, and print its name in a way that anybody can read."""
    (place.home / "config.toml").write_text('[log]\nlevel = "info"\n')
    words = ("--config.file", str(place.home / "config.toml"), command)
    done = place.run(*words)
    assert done.returncode == 0, done.stderr
    if command == "check":
        assert r"/Zo\xeb/home/.local/share/opencode/opencode.db" in done.stdout
    elif command == "once":
        installed = Exposed(done.stdout).by("opencode_skill_installed", "skill", "scope")
        assert ("tidy-up", "user") in installed
    (place.home / "config.toml").write_text("[")
    done = place.run(*words)
    assert done.returncode == 1
    assert r"/Zo\xeb/home/config.toml cannot be read" in done.stderr


@pytest.mark.slow
def test_serve_in_a_home_that_is_not_utf8(place: Place) -> None:
    """Its ledger, its web configuration and its log are there as anywhere."""
    web = place.home / "web.yml"
    web.write_text("http_server_config:\n  headers:\n    X-Frame-Options: deny\n")
    words = ("--web.listen-address=127.0.0.1:0", "--web.config.file", str(web))
    with place.running("serve", *words) as (process, _):
        assert process.stop() == 0, place.log.read_text()
    assert (place.home / ".local" / "state" / "opencode-exporter" / "ledger.db").exists()
    web.write_text("[")
    done = place.run("serve", *words)
    assert done.returncode == 1
    assert r"/Zo\xeb/home/web.yml: not valid YAML" in done.stderr


@pytest.mark.slow
def test_demo_where_temporary_files_are_not_in_utf8(place: Place) -> None:
    """Its agent could not make a database there."""
    words = ("demo", "--demo.history=1d", "--web.listen-address=127.0.0.1:0")
    with place.running(*words, TMPDIR=str(place.home)) as (process, _):
        assert process.stop() == 0, place.log.read_text()
    assert not list(place.home.glob("opencode-exporter-demo-*"))


@pytest.mark.root
def test_check_beside_a_mount_that_is_not_utf8(place: Place) -> None:
    """The name of a mount that it had nothing to do with ended `check`."""
    with mounts.small(place.home / "mount"):
        done = place.run("check")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_mounts_with_odd_names(tmp_path: Path) -> None:
    """The kernel escapes blanks and the like in the list of mounts."""
    place = tmp_path / "a b\tc\\d"
    line = f"none {tmp_path}/a\\040b\\011c\\134d 9p rw 0 0\n"
    (tmp_path / "mounts").write_text(line)
    assert filesystem(place / "opencode.db", listed(tmp_path / "mounts")) == "9p"
