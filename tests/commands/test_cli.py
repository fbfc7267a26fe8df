"""The command line: help, what it refuses, where settings come from, `once` and `check`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import apsw
import click
import httpx
import pytest
from click.testing import CliRunner

from harness.exporters import Exposed
from harness.processes.command import Place
from harness.recordings import unpack
from harness.waiting import wait_for
from opencode_exporter import __version__
from opencode_exporter.commands.cli import cli
from opencode_exporter.errors import ConfigError
from opencode_exporter.source.locate import home_directory


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home without anything in it."""
    return Place(tmp_path)


@pytest.fixture
def recorded(place: Place) -> Place:
    """A home whose source is a recording of OpenCode 2.0.15."""
    unpack("2.0.15", place.source.parent)
    return place


def projects(page: str) -> set[str]:
    """Return the projects that a page names."""
    return {name for (name,) in Exposed(page).by("opencode_tool_usage_total", "project")}


# Help.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", *cli.commands])
def test_help_names_every_flag_with_its_variable_and_default(name: str, place: Place) -> None:
    """`--help` exits 0 and tells of each flag what it does, its variable and its default."""
    done = place.run(*([name] if name else []), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    command = cli.commands[name] if name else cli
    for option in command.params:
        assert isinstance(option, click.Option)
        assert option.opts[0] in text
        if option.opts[0] != "--version":
            assert f"[env var: {option.envvar}" in text
            assert option.help
        default = option.get_help_extra(click.Context(command)).get("default")
        assert default is None or f"default: {default}" in text
    if not name:
        for inner, described in cli.commands.items():
            marked = "serve*" if inner == "serve" else inner
            assert f"{marked} {described.get_short_help_str(limit=100)}" in text


def test_variables_are_named_after_their_flags() -> None:
    """`--web.listen-address` is OPENCODE_EXPORTER_WEB_LISTEN_ADDRESS, and so on for each."""
    for command in (cli, *cli.commands.values()):
        for option in command.params:
            if option.opts[0] != "--version":
                words = re.sub(r"[.-]", "_", option.opts[0].removeprefix("--")).upper()
                assert option.envvar == f"OPENCODE_EXPORTER_{words}"


@pytest.mark.slow
def test_version(place: Place) -> None:
    """`--version` prints name and version on stdout."""
    done = place.run("--version")
    assert (done.returncode, done.stdout) == (0, f"opencode-exporter, version {__version__}\n")


# A command line that is not understood.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bogus"], "No such option '--bogus'."),
        (["once", "--web.listen-address", ":1"], "No such option '--web.listen-address'."),
        (["bogus"], "Got unexpected extra argument (bogus)"),
        (
            ["--watch.interval", "3x"],
            "'3x' is not a duration: write for example 90s, 6h, 1d12h or 2w",
        ),
        (["once", "--abandon-after", "0s"], "'0s' is not a duration"),
        (["once", "--labels.project", "both"], "'both' is not one of 'name', 'hash', 'off'."),
        (["once", "--labels.series-limit", "5"], "5 is not in the range x>=100."),
        (["demo", "--demo.pace", "nan"], "'nan' is not a number"),
        (["backfill", "--output", "~nobody-here/x"], "a user that is not known here"),
    ],
)
def test_what_is_not_understood_exits_2(words: list[str], sentence: str, place: Place) -> None:
    """A wrong flag or value exits 2 with a sentence on stderr, and nothing is started."""
    done = place.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bogus.key = 1", "unknown key 'bogus_key'"),
        ("[web]\nport = 1", "unknown key 'web_port'"),
        ("config.file = 'x'", "unknown key 'config_file'"),
        ("a = [", "cannot be read (Invalid value"),
        ("watch.interval = 30", "watch_interval cannot be 30"),
        ("abandon-after = ['1h']", "abandon_after cannot be ['1h']"),
        ("web.config.file = true", "web_config_file cannot be True"),
        ("ledger.path = 5", "ledger_path cannot be 5"),
        ("watch.force-polling = 'yes'", "watch_force_polling cannot be 'yes'"),
        ("labels.series-limit = true", "labels_series_limit cannot be True"),
        ("source.path = [1]", "source_path cannot be [1]"),
        ("source.path = ['a\\u0000b']".replace("'", '"'), "source_path cannot be"),
        ('source.path = "a\\u0000b"', "source_path cannot be"),
        ('ledger.path = "a\\u0000b"', "ledger_path cannot be"),
        ('web.config.file = "a\\u0000b"', "web_config_file cannot be"),
        ("a = " + "[" * 5000, "recursion"),
    ],
)
def test_config_file_that_cannot_be_used_is_refused(
    text: str, sentence: str, tmp_path: Path
) -> None:
    """An unknown key or a value of the wrong type is told with the file's name."""
    file = tmp_path / "exporter.toml"
    file.write_text(text)
    done = CliRunner().invoke(cli, ["--config.file", str(file), "serve"])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: configuration file {file}")
    assert sentence in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["once", "--source.path", "~nobody-here/opencode.db"], {}),
        (["check", "--source.path", "~nobody-here/opencode.db"], {}),
        (["report"], {"OPENCODE_DB": "~nobody-here/opencode.db"}),
        (["serve", "--ledger.path", "~nobody-here/ledger.db"], {}),
        (["serve", "--web.config.file", "~nobody-here/web.yml"], {}),
    ],
)
def test_home_of_nobody_is_told(words: list[str], variables: dict[str, str], place: Place) -> None:
    """A tilde that names no user was a traceback."""
    done = place.run(*words, **variables)
    assert (done.returncode, done.stdout) == (1 if variables else 2, "")
    assert "begins with the home of a user that is not known here: write the" in done.stderr
    assert "Traceback" not in done.stderr


def test_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME, and a user without a name, as containers run some, was a traceback."""

    def nobody(_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(nobody))
    with pytest.raises(ConfigError, match="there is no home directory: set HOME"):
        home_directory()


@pytest.mark.slow
def test_config_file_that_is_missing_is_told(place: Place) -> None:
    """A configuration file that is not there stops the start, it is not passed over."""
    done = place.run(OPENCODE_EXPORTER_CONFIG_FILE=str(place.home / "none.toml"))
    assert done.returncode == 1
    assert "none.toml cannot be read" in done.stderr


# Where settings come from.


@pytest.mark.slow
def test_flag_wins_over_environment_over_file_over_default(recorded: Place) -> None:
    """Each source of settings gives way to the one above it."""
    file = recorded.home / "exporter.toml"
    file.write_text(f'labels.project = "hash"\n[source]\npath = "{recorded.source}"\n')
    once = ("--config.file", str(file), "once")
    off = {"OPENCODE_EXPORTER_LABELS_PROJECT": "off"}
    default = recorded.run("once", "--source.path", str(recorded.source))
    assert projects(default.stdout) == {"demo-project"}
    (hashed,) = projects(recorded.run(*once).stdout)
    assert re.fullmatch(r"[0-9a-f]{8}", hashed)
    assert projects(recorded.run(*once, **off).stdout) == {""}
    assert projects(recorded.run(*once, "--labels.project=name", **off).stdout) == {"demo-project"}


@pytest.mark.slow
def test_config_file_sets_every_kind_of_flag(recorded: Place) -> None:
    """Lists, switches, durations and paths of the file, named by the environment, take effect."""
    file = recorded.home / "exporter.toml"
    ledger = recorded.home / "own" / "ledger.db"
    file.write_text(
        f'source.path = ["{recorded.source}"]\nledger.path = "{ledger}"\nhistory = "skip"\n'
        '[web]\nlisten-address = ["127.0.0.1:0", "127.0.0.1:0"]\ntelemetry-path = "/m"\n'
        '[watch]\ninterval = "5s"\nforce-polling = true\n'
        '[log]\nformat = "logfmt"\n'
    )
    with recorded.running(OPENCODE_EXPORTER_CONFIG_FILE=str(file)) as (_, urls):
        first, second = urls.split()
        assert first != second
        wait_for(lambda: httpx.get(f"{first}/-/ready").status_code == 200)
        page = Exposed(httpx.get(f"{second}/m").text)
    assert ledger.exists()
    assert page.value("opencode_up", source="opencode.db") == 1
    assert page.total("opencode_tool_invocations_total") == 0


@pytest.mark.slow
def test_environment_repeats_what_may_be_repeated(recorded: Place) -> None:
    """Several databases in the environment are separated as in PATH."""
    other = recorded.source.with_name("other.db")
    paths = os.pathsep.join([str(recorded.source), str(other)])
    done = recorded.run("check", OPENCODE_EXPORTER_SOURCE_PATH=paths)
    assert done.returncode == 1
    assert str(other) in done.stdout
    assert "all is well" in done.stdout


# once.


@pytest.mark.slow
def test_once_prints_the_page_on_stdout_alone(recorded: Place) -> None:
    """Stdout is the exposition and nothing else, logs go to stderr, and no ledger is written."""
    done = recorded.run("once", "--source.path", str(recorded.source))
    assert done.returncode == 0
    assert all(re.match(r"# (HELP|TYPE) |[a-z_]+[{ ]", line) for line in done.stdout.splitlines())
    assert Exposed(done.stdout).total("opencode_tool_invocations_total") > 0
    assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == ["info"]
    assert not list(recorded.home.rglob("*"))


@pytest.mark.slow
def test_once_without_a_database_exits_1_and_prints_the_page(place: Place) -> None:
    """A missing database is told on stderr and by `opencode_up`; nothing counts."""
    done = place.run("once", "--source.path", str(place.source), "--log.format=logfmt")
    assert done.returncode == 1
    page = Exposed(done.stdout)
    assert page.value("opencode_up", source="opencode.db") == 0
    assert "opencode_tool_invocations_total" not in page.samples
    assert 'err="there is no database" hint="start OpenCode once' in done.stderr


@pytest.mark.slow
def test_once_finds_the_database_as_opencode_does(recorded: Place) -> None:
    """Without `--source.path` it is OPENCODE_DB, else what lies in the data directory."""
    data = recorded.home / "data"
    (data / "opencode").mkdir(parents=True)
    recorded.source.rename(data / "opencode" / "opencode-dev.db")
    found = Exposed(recorded.run("once", XDG_DATA_HOME=str(data)).stdout)
    assert found.value("opencode_up", source="opencode-dev.db") == 1
    named = recorded.run("once", XDG_DATA_HOME=str(data), OPENCODE_DB="opencode-dev.db")
    assert Exposed(named.stdout).value("opencode_up", source="opencode-dev.db") == 1


# check.


@pytest.mark.slow
def test_check_tells_the_facts_of_a_good_database(recorded: Place) -> None:
    """Path, size, generation, version, tables, rows, newest event: exit 0, whole when piped."""
    deep = recorded.source.parent / ("a-long-name-" * 8) / "opencode.db"
    deep.parent.mkdir()
    recorded.source.rename(deep)
    done = recorded.run("check", "--source.path", str(deep), COLUMNS="40")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    cells = [re.split(r" *│ *", line)[1:3] for line in done.stdout.splitlines() if "│" in line]
    facts = dict(cells)
    assert facts["path"] == str(deep)
    assert facts["generation"] == "v2"
    assert facts["OpenCode version (v2)"] == "2.0.15"
    assert facts["table session_message"].startswith("7 columns needed")
    assert int(facts["rows in session_message"]) > 100
    assert re.fullmatch(r"[\d,]+ bytes, wal [\d,]+ bytes", facts["size"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:]+\+00:00", facts["newest event"])
    assert (facts["readable"], facts["result"]) == ("yes", "all is well")


@pytest.mark.slow
def test_check_prints_ascii_where_nothing_else_can_be_printed(recorded: Place) -> None:
    """An output that knows no line-drawing characters gets the same facts."""
    words = ("check", "--source.path", str(recorded.source))
    done = recorded.run(*words, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "all is well" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no database: start OpenCode once"),
        (b"", "the file is empty: OpenCode fills it when it starts"),
        (b"not a database at all", "the file is not an SQLite database: name OpenCode's own file"),
    ],
)
def test_check_says_what_to_do_about_a_bad_file(
    content: bytes | None, sentence: str, place: Place
) -> None:
    """A file that cannot be read is a problem with a hint, and exit code 1."""
    place.source.parent.mkdir()
    if content is not None:
        place.source.write_bytes(content)
    done = place.run("check", "--source.path", str(place.source))
    assert (done.returncode, done.stderr) == (1, "")
    assert sentence in done.stdout
    assert "all is well" not in done.stdout


@pytest.mark.slow
def test_check_names_what_a_foreign_database_lacks(place: Place) -> None:
    """A database without OpenCode's tables is a problem, named table by table."""
    place.source.parent.mkdir()
    database = apsw.Connection(str(place.source))
    database.execute("CREATE TABLE session (id TEXT, project_id TEXT)")
    database.close()
    done = place.run("check", "--source.path", str(place.source))
    assert done.returncode == 1
    assert "table message, table part, column session.time_created" in " ".join(done.stdout.split())
