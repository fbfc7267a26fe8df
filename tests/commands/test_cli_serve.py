"""The command `serve` as a process: how it starts, ends, minds signals and logs."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from harness.processes.command import ANYWHERE, Place
from harness.processes.process import Process
from harness.recordings import unpack
from harness.waiting import SOON_S, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home without anything in it."""
    return Place(tmp_path)


@pytest.fixture
def recorded(place: Place) -> Place:
    """A home whose source is a recording of OpenCode 2.0.15."""
    unpack("2.0.15", place.source.parent)
    return place


def test_no_command_serves_with_a_private_ledger(recorded: Place) -> None:
    """Flags alone start `serve`; its ledger lies in the state directory, for its user only."""
    with recorded.running("--source.path", str(recorded.source), *ANYWHERE) as (_, url):
        wait_for(lambda: httpx.get(f"{url}/-/ready").status_code == 200)
        assert "opencode_skill_invocations_total" in httpx.get(f"{url}/metrics").text
    ledger = recorded.home / ".local" / "state" / "opencode-exporter" / "ledger.db"
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("wanted", [True, False])
def test_created_timestamps_are_on_openmetrics_pages_if_asked_for(
    recorded: Place, *, wanted: bool
) -> None:
    """`--web.created-timestamps` adds `_created` to OpenMetrics, and never to text."""
    words = ("--source.path", str(recorded.source), *ANYWHERE)
    flags = ("--web.created-timestamps",) if wanted else ()
    with recorded.running("serve", *words, *flags) as (_, url):
        wait_for(lambda: httpx.get(f"{url}/-/ready").status_code == 200)
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        openmetrics, text = (httpx.get(f"{url}/metrics", headers=h).text for h in (accept, {}))
    created = "opencode_tool_invocations_created{"
    assert (created in openmetrics, created in text) == (wanted, False)


def test_port_in_use_is_one_sentence(place: Place) -> None:
    """An address that is taken ends the start with exit code 1 and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = place.run("serve", "--web.listen-address", address)
    assert done.returncode == 1
    assert done.stderr == (
        f"opencode-exporter: listen address '{address}' is in use: another exporter may be "
        "running; choose another --web.listen-address\n"
    )


def test_second_exporter_on_a_ledger_is_one_sentence(place: Place) -> None:
    """A ledger that another process holds ends the start with exit code 1 and what to do."""
    with place.running("serve", *ANYWHERE) as (first, _):
        done = place.run("serve", *ANYWHERE)
        assert first.is_running
    ledger = place.home / ".local" / "state" / "opencode-exporter" / "ledger.db"
    assert done.returncode == 1
    assert done.stderr == (
        f"opencode-exporter: another exporter holds the ledger {ledger}: stop it, or give this "
        "one its own with --ledger.path\n"
    )


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_ends_serve_at_once(name: str, recorded: Place) -> None:
    """Told to end, it does so at once, with exit code 0 and a last line in the log."""
    words = ("serve", "--source.path", str(recorded.source), *ANYWHERE)
    with recorded.running(*words) as (process, url), httpx.Client() as client:
        client.get(f"{url}/metrics")  # the connection stays open, and must not hold it up
        told = time.monotonic()
        process.send(signal.Signals[name])
        assert process.wait() == 0
        assert time.monotonic() - told < SOON_S
    assert json.loads(recorded.log.read_text().splitlines()[-1])["msg"] == "stopped"


def test_demo_that_is_ended_while_it_starts_leaves_nothing_behind(place: Place) -> None:
    """A SIGTERM before the agent has written its history removes the temporary database."""
    room = place.home / "tmp"
    room.mkdir()
    command = [sys.executable, "-m", "opencode_exporter", "demo", "--demo.history=60d", *ANYWHERE]
    environment = place.environment({"TMPDIR": str(room)})
    with Process(command, place.log, environment=environment) as process:
        wait_for(lambda: list(room.glob("*/opencode.db")))
        assert process.stop() == 0
    assert list(room.iterdir()) == []


def test_sighup_reads_the_web_configuration_and_keeps_serving(place: Place) -> None:
    """SIGHUP brings a changed file into effect; a broken one is told, and the old one stays."""
    file = place.home / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
    with place.running("serve", "--web.config.file", str(file), *ANYWHERE) as (process, url):
        file.write_text("http_server_config: {headers: {X-Frame-Options: sameorigin}}")
        process.send(signal.SIGHUP)
        wait_for(lambda: "web configuration read again" in place.log.read_text())
        assert httpx.get(f"{url}/-/healthy").headers["x-frame-options"] == "sameorigin"
        file.write_text("nonsense: 1")
        process.send(signal.SIGHUP)
        wait_for(lambda: "nonsense: unknown setting" in place.log.read_text())
        assert httpx.get(f"{url}/-/healthy").headers["x-frame-options"] == "sameorigin"
        assert process.is_running


# Logs.


def test_logs_are_json_where_stderr_is_no_terminal(place: Place) -> None:
    """Each line is one JSON object with time, level and a constant message."""
    with place.running("serve", *ANYWHERE) as (process, _):
        wait_for(lambda: "there is no database" in place.log.read_text())
        process.stop()
    lines = [json.loads(line) for line in place.log.read_text().splitlines()]
    assert [line["msg"] for line in lines][:2] == ["starting", "listening"]
    assert all({"ts", "level", "msg"} <= line.keys() for line in lines)


def test_logs_are_logfmt_when_asked_and_as_quiet_as_asked(place: Place) -> None:
    """`--log.format=logfmt` writes key=value; below `--log.level` nothing is written."""
    words = ("--log.format=logfmt", "--log.level=warning")
    done = place.run("once", "--source.path", str(place.source), *words)
    (line,) = done.stderr.splitlines()
    assert re.match(r'ts=\S+Z level=warning msg="source cannot be read" source=opencode.db ', line)
    assert place.run("once", *words, OPENCODE_EXPORTER_LOG_LEVEL="error").stderr != ""
    assert place.run("once", OPENCODE_EXPORTER_LOG_LEVEL="error").stderr == ""


def test_logs_are_logfmt_on_a_terminal(place: Place) -> None:
    """A person at a terminal reads key=value without asking for it."""
    ours, theirs = pty.openpty()
    words = ("once", "--source.path", str(place.source))
    done = subprocess.run(
        [sys.executable, "-m", "opencode_exporter", *words],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=place.environment({"TERM": "xterm"}),
        check=False,
        timeout=60,
    )
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 1
    assert re.match(r"ts=\S+Z level=warning msg=", said)
