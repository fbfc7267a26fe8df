"""`make stack` brings everything up on this machine, as it is committed, and leaves nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from pathlib import Path

import pytest
import yaml

from harness.places import DEPLOY
from harness.processes.scripts import STACK, Stack
from harness.real_tools import real_tool
from harness.waiting import wait_for
from opencode_exporter.demo import world

ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")
ALERT = "OpenCodeSkillFailing"
JOBS = {"opencode", "prometheus", "alertmanager"}


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
    real_tool(*ALERTMANAGERS)
    stack = Stack(tmp_path)
    with stack:
        stack.says("Ready.")
        assert all(f"http://127.0.0.1:{port}/" in stack.log for port in stack.ports.values())
        wait_for(lambda: healths(stack) == dict.fromkeys(JOBS, "up"), 40)
        groups = stack.prometheus("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == committed_rules()
        assert "err" not in {rule["health"] for rule in rules}
        receivers = stack.prometheus("alertmanagers")["activeAlertmanagers"]
        assert [str(stack.ports["alertmanager"]) in one["url"] for one in receivers] == [True]
        assert len(stack.pids()) == 3
        assert stack.stop() == 0, stack.log
    assert stack.leaves_nothing()


def each_second(directory: Path) -> str:
    """Return the script in a copy of deploy/ where all is scraped and evaluated each second."""
    copy = shutil.copytree(DEPLOY, directory / "deploy")
    for path in [copy / "prometheus" / "prometheus.yml", *copy.glob("prometheus/rules/*.yml")]:
        text = re.sub(r"(?m)(interval): (1m|15s)$", r"\1: 1s", path.read_text("utf-8"))
        path.write_text(text, "utf-8")
    return str(copy / STACK)


@pytest.mark.real
def test_stack_shows_the_alert_that_it_speaks_of(tmp_path: Path) -> None:
    """The skill that the demo breaks alerts, by the shipped rules but for how often they look."""
    real_tool("prometheus")
    real_tool(*ALERTMANAGERS)
    stack = Stack(tmp_path, each_second(tmp_path), OPENCODE_EXPORTER_DEMO_PACE="10")
    with stack:
        stack.says("Ready.")
        assert f"the alert {ALERT} fires" in stack.log
        assert f"the skill {world.BROKEN}," in stack.log
        assert f"http://127.0.0.1:{stack.ports['prometheus']}/alerts" in stack.log
        wait_for(lambda: (ALERT, world.BROKEN) in told(stack), 90, every=0.5)
        assert stack.stop() == 0, stack.log


def told(stack: Stack) -> set[tuple[str, str]]:
    """Return the alerts that Alertmanager has, with the skill that each is about."""
    return {(labels["alertname"], labels.get("skill", "")) for labels in stack.alerts()}


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stack_ends_in_order_while_it_is_starting(tmp_path: Path, number: signal.Signals) -> None:
    """A signal that comes before all programs have started ends them as well."""
    real_tool("prometheus")
    stack = Stack(tmp_path)
    with stack:
        stack.says("started (pid=")
        stack.send(number)
        assert stack.wait() == 0, stack.log
    assert stack.leaves_nothing()


@pytest.mark.real
def test_stack_goes_on_without_alertmanager_and_ends_with_any_other_program(tmp_path: Path) -> None:
    """A missing Alertmanager is said; when Prometheus dies, all end, and that is a failure."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "prometheus").symlink_to(real_tool("prometheus"))
    stack = Stack(tmp_path, PATH=str(programs))
    with stack:
        stack.says("Ready.")
        assert "Alertmanager is not installed" in stack.log
        wait_for(lambda: set(healths(stack)) == JOBS - {"alertmanager"})
        assert stack.prometheus("alertmanagers")["activeAlertmanagers"] == []
        os.kill(stack.pids()["prometheus"], signal.SIGKILL)
        assert stack.wait() == 1
    assert "prometheus ended, so everything did." in stack.log
    assert stack.leaves_nothing()


@pytest.mark.slow
def test_stack_says_that_prometheus_is_missing(tmp_path: Path) -> None:
    """It says what to install, starts nothing, and fails."""
    stack = Stack(tmp_path, PATH=str(tmp_path))
    with stack:
        assert stack.wait() == 1
    assert "Prometheus is not installed." in stack.log
    assert "apt install prometheus" in stack.log
    assert stack.leaves_nothing()


@pytest.mark.real
def test_stack_says_that_a_port_is_in_use(tmp_path: Path) -> None:
    """It names the port and the flag for another one, before it starts anything."""
    real_tool("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as other:
        stack = Stack(tmp_path)
        stack.ports["prometheus"] = port = other.getsockname()[1]
        with stack:
            assert stack.wait() == 1
    assert f"Port {port} is in use" in stack.log
    assert "--prometheus-port" in stack.log
    assert stack.pids() == {}
