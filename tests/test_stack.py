"""`make stack` brings everything up on this machine, as it is committed, and leaves nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from prometheus import free_port
from support import missing, real_tool, wait_for

DEPLOY = Path(__file__).parents[1] / "deploy"
ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")
JOBS = {"opencode", "prometheus", "alertmanager"}


class Stack:
    """The script in a process of its own, with ports and a temporary folder of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.ports = {name: free_port() for name in ("exporter", "prometheus", "alertmanager")}
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self._log = directory / "log"
        self._environment = {**os.environ, "TMPDIR": str(self.temporary), **environment}
        self.process: subprocess.Popen[bytes]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and see to it that it has ended after the block."""
        ports = [f"--{name}-port={port}" for name, port in self.ports.items()]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(DEPLOY / "stack.py"), *ports],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            self.process.kill()
            self.process.wait()
            for pid in self.pids().values():
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        """What it has written."""
        return self._log.read_text("utf-8")

    def says(self, text: str) -> None:
        """Wait until it writes something."""
        wait_for(lambda: text in self.said or self.process.poll() is not None, 60)
        assert text in self.said, self.said

    def pids(self) -> dict[str, int]:
        """Return the processes of the programs that were started."""
        return {name: int(pid) for name, pid in re.findall(r"(\w+) started \(pid=(\d+)", self.said)}

    def leaves_nothing(self) -> bool:
        """Return whether its programs, and what they wrote, are gone."""
        return not any(map(is_alive, self.pids().values())) and not list(self.temporary.iterdir())

    def prometheus(self, path: str) -> Any:
        """Return what Prometheus answers."""
        url = f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/{path}"
        return httpx.get(url, trust_env=False).json()["data"]


def is_alive(pid: int) -> bool:
    """Return whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def healths(stack: Stack) -> dict[str, str]:
    """Return the state of the target of each job."""
    active = stack.prometheus("targets")["activeTargets"]
    return {target["labels"]["job"]: target["health"] for target in active}


def committed_rules() -> set[str]:
    """Return the names of all rules."""
    found = set()
    for path in (DEPLOY / "prometheus" / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            found |= {rule.get("alert") or rule["record"] for rule in group["rules"]}
    return found


@pytest.mark.real
def test_stack_comes_up_whole_and_leaves_nothing(tmp_path: Path) -> None:
    """Every target is up, every rule loaded, alerts have a receiver; after SIGTERM all is gone."""
    real_tool("prometheus")
    if not any(map(shutil.which, ALERTMANAGERS)):
        missing("Alertmanager is not installed: see .ci/run")
    stack = Stack(tmp_path)
    with stack.running():
        stack.says("Ready.")
        assert all(f"http://127.0.0.1:{port}/" in stack.said for port in stack.ports.values())
        wait_for(lambda: healths(stack) == dict.fromkeys(JOBS, "up"), 40)
        groups = stack.prometheus("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == committed_rules()
        assert "err" not in {rule["health"] for rule in rules}
        receivers = stack.prometheus("alertmanagers")["activeAlertmanagers"]
        assert [str(stack.ports["alertmanager"]) in one["url"] for one in receivers] == [True]
        assert len(stack.pids()) == 3
        stack.process.terminate()
        assert stack.process.wait(30) == 0, stack.said
    assert stack.leaves_nothing()


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stack_ends_in_order_while_it_is_starting(tmp_path: Path, number: signal.Signals) -> None:
    """A signal that comes before all programs have started ends them as well."""
    real_tool("prometheus")
    stack = Stack(tmp_path)
    with stack.running():
        stack.says("started (pid=")
        stack.process.send_signal(number)
        assert stack.process.wait(30) == 0, stack.said
    assert stack.leaves_nothing()


@pytest.mark.real
def test_stack_goes_on_without_alertmanager_and_ends_with_any_other_program(tmp_path: Path) -> None:
    """A missing Alertmanager is said; when Prometheus dies, all end, and that is a failure."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "prometheus").symlink_to(real_tool("prometheus"))
    stack = Stack(tmp_path, PATH=str(programs))
    with stack.running():
        stack.says("Ready.")
        assert "Alertmanager is not installed" in stack.said
        wait_for(lambda: set(healths(stack)) == JOBS - {"alertmanager"}, 20)
        assert stack.prometheus("alertmanagers")["activeAlertmanagers"] == []
        os.kill(stack.pids()["prometheus"], signal.SIGKILL)
        assert stack.process.wait(30) == 1
    assert "prometheus ended, so everything did." in stack.said
    assert stack.leaves_nothing()


def test_stack_says_that_prometheus_is_missing(tmp_path: Path) -> None:
    """It says what to install, starts nothing, and fails."""
    stack = Stack(tmp_path, PATH=str(tmp_path))
    with stack.running():
        assert stack.process.wait(30) == 1
    assert "Prometheus is not installed." in stack.said
    assert "apt install prometheus" in stack.said
    assert stack.leaves_nothing()


def test_stack_says_that_a_port_is_in_use(tmp_path: Path) -> None:
    """It names the port and the flag for another one, before it starts anything."""
    real_tool("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as other:
        stack = Stack(tmp_path)
        stack.ports["prometheus"] = port = other.getsockname()[1]
        with stack.running():
            assert stack.process.wait(30) == 1
    assert f"Port {port} is in use" in stack.said
    assert "--prometheus-port" in stack.said
    assert stack.pids() == {}
