"""Flags and settings: each flag has a field, each field a flag, and one default for both."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.processes.command import ANYWHERE, Place
from opencode_exporter.commands import demo, logs
from opencode_exporter.commands.cli import cli
from opencode_exporter.commands.flags.fields import FIELDS, settings_of
from opencode_exporter.commands.flags.value_types import duration_text, parse_duration
from opencode_exporter.service.settings import Settings

OWN = {
    "tool_include",
    "tool_exclude",
    "skill_include",
    "skill_exclude",
    "ledger_path",
    "log_level",
    "log_format",
    "otlp_gen_ai",
    "otlp_host_name",
    "otlp_traces",
    "output",
    "label",
    "step",
    "until",
    "top",
    "format",
    "demo_generation",
    "demo_history",
    "demo_pace",
    "demo_seed",
}
"""Flags that a command takes itself, or that become a field together with others."""
TOGETHER = {"ledger_path", "filters"}
"""Fields that are made of these."""


def declared() -> set[str]:
    """Return the variables of all flags of all commands."""
    return {str(flag.name) for command in cli.commands.values() for flag in command.params}


def test_each_flag_has_a_field_and_each_field_a_flag() -> None:
    """A flag without a field would be taken and do nothing."""
    assert declared() == FIELDS.keys() | OWN
    assert {one.name for one in fields(Settings)} == set(FIELDS.values()) | TOGETHER


@pytest.mark.parametrize("name", sorted(cli.commands.keys() - {"backfill"}))
def test_flags_that_are_not_given_leave_the_defaults(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 s, 6 h, 2000 and /metrics stood in three places, each of which could be changed alone."""
    monkeypatch.setattr("os.environ", {})
    context = cli.commands[name].make_context(name, [])
    assert settings_of(context.params, None) == Settings()


def test_flags_show_the_default_of_their_field() -> None:
    """What `--help` says of a duration can be given as it stands."""
    shown = {
        str(flag.name): flag.get_help_extra(click.Context(cli)).get("default")
        for command in cli.commands.values()
        for flag in command.params
        if isinstance(flag, click.Option)
    }
    assert {variable: shown[variable] for variable in FIELDS if shown[variable]} == {
        "history": "count",
        "abandon_after": "6h",
        "labels_series_limit": "2000",
        "files_top": "0",
        "labels_project": "name",
        "watch_interval": "30s",
        "web_listen_address": "127.0.0.1:10777",
        "web_telemetry_path": "/metrics",
        "web_created_timestamps": "no-web.created-timestamps",
    }


@pytest.mark.parametrize("text", ["30s", "6h", "1d12h", "1m1ms", "1y2w3d4h5m6s7ms"])
def test_durations_are_written_as_they_are_read(text: str) -> None:
    """A default is shown in the grammar in which a flag is given."""
    assert duration_text(parse_duration(text)) == text


# Paths with a tilde, which a shell leaves alone behind `=` and in a file.


@pytest.mark.slow
def test_demo_finds_its_web_configuration_below_the_home(tmp_path: Path) -> None:
    """`demo --web.config.file=~/web.yml` said that there is no such file; `serve` found it."""
    place = Place(tmp_path)
    (place.home / "web.yml").write_text("nonsense: 1\n")
    for command in ("demo", "serve"):
        done = place.run(command, "--web.config.file=~/web.yml", *ANYWHERE)
        assert done.returncode == 1
        assert f"{place.home / 'web.yml'}: nonsense: unknown setting" in done.stderr


@pytest.mark.slow
def test_configuration_file_is_found_below_the_home(tmp_path: Path) -> None:
    """`--config.file` alone did not know what a tilde is."""
    place = Place(tmp_path)
    (place.home / "exporter.toml").write_text("nonsense = 1\n")
    done = place.run("--config.file=~/exporter.toml", "once")
    assert f"{place.home / 'exporter.toml'}: unknown key 'nonsense'" in done.stderr


def test_demo_hands_its_environment_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo set XDG_CONFIG_HOME for its whole process, in order to hand it to one object."""
    handed: list[tuple[Settings, Mapping[str, str]]] = []
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(demo, "serve_until_stopped", lambda *given: handed.append(given[:2]))
    monkeypatch.setattr("os.environ", dict(os.environ))
    before, ends = dict(os.environ), signal.getsignal(signal.SIGTERM)
    try:
        done = CliRunner().invoke(cli, ["demo", "--demo.history=1d"], catch_exceptions=False)
    finally:
        signal.signal(signal.SIGTERM, ends)
    assert done.exit_code == 0
    ((settings, environ),) = handed
    assert settings.ledger_path is not None
    assert environ == {**before, "XDG_CONFIG_HOME": str(settings.ledger_path.parent / "config")}
    assert os.environ == before
