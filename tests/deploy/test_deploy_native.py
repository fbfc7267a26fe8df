"""The committed configuration, run by the real Prometheus and Alertmanager of this machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from harness.places import DEPLOY
from harness.processes.ports import free_port
from harness.processes.process import Process
from harness.processes.served import Served
from harness.real_tools import real_tool
from harness.recordings import unpack
from harness.waiting import PATIENCE_S, wait_for

RULES = DEPLOY / "prometheus" / "rules"
CONFIG = DEPLOY / "alertmanager" / "alertmanager.yml"
_SECONDS = 60.0
pytestmark = pytest.mark.real


class Server(Process):
    """A server of Prometheus' family, which says itself that it is ready."""

    def __init__(
        self, program: str, target: str, folder: Path, client: httpx.Client, *more: str
    ) -> None:
        command = [program, f"--web.listen-address={target}", "--log.level=warn", *more]
        super().__init__(command, folder / f"{Path(program).name}.log")
        self.target = target
        self.client = client

    def ask(self, path: str) -> Any:
        """Return what an API of it answers."""
        return self.client.get(f"http://{self.target}{path}").raise_for_status().json()

    def is_up(self) -> bool:
        """Return whether it says that it is ready."""
        try:
            return self.client.get(f"http://{self.target}/-/ready").status_code == 200
        except httpx.TransportError:
            return False


class Stack(NamedTuple):
    """The three servers."""

    exporter: Served
    prometheus: Server
    alertmanager: Server


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start an exporter on a recording, and both servers with what is committed."""
    programs = real_tool("prometheus"), real_tool("prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("native")
    database = unpack("turns-2.0.15", folder / "data")
    (folder / "home").mkdir()
    ports = [f"127.0.0.1:{free_port()}" for _ in programs]
    with ExitStack() as running:
        exporter = running.enter_context(
            Served(database, folder / "exporter", home=folder / "home")
        )
        client = running.enter_context(httpx.Client(trust_env=False, timeout=PATIENCE_S))
        config = lay_out(folder / "prometheus", exporter.target, *ports)
        flags = (
            (f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"),
            (
                *(f"--config.file={CONFIG}", f"--storage.path={folder / 'alertmanager'}"),
                "--cluster.listen-address=",
            ),
        )
        yield Stack(
            exporter,
            *(
                running.enter_context(Server(program, port, folder, client, *more))
                for program, port, more in zip(programs, ports, flags, strict=True)
            ),
        )


def lay_out(folder: Path, exporter: str, prometheus: str, alertmanager: str) -> Path:
    """Put the targets of this run beside the committed configuration; return its path."""
    (folder / "targets").mkdir(parents=True)
    (folder / "prometheus.yml").symlink_to(DEPLOY / "prometheus" / "prometheus.yml")
    (folder / "rules").symlink_to(RULES)
    here = {"exporters": exporter, "prometheus": prometheus, "alertmanagers": alertmanager}
    for committed in (DEPLOY / "prometheus" / "targets" / "native").iterdir():
        groups = yaml.safe_load(committed.read_text("utf-8"))
        for group in groups:
            group["targets"] = [here.pop(committed.stem)]
        (folder / "targets" / committed.name).write_text(yaml.safe_dump(groups), encoding="utf-8")
    assert not here
    return folder / "prometheus.yml"


def check(*command: str) -> str:
    """Let a tool check a file, and return what it says."""
    program, *words = command
    done = subprocess.run([real_tool(program), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("targets", ["host", "linux", "demo", "fleet", "native"])
def test_promtool_takes_the_configuration(tmp_path: Path, targets: str) -> None:
    """With each folder of targets it has nothing to warn of, and finds every rule file."""
    (tmp_path / "prometheus.yml").symlink_to(DEPLOY / "prometheus" / "prometheus.yml")
    (tmp_path / "rules").symlink_to(RULES)
    (tmp_path / "targets").symlink_to(DEPLOY / "prometheus" / "targets" / targets)
    said = check("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    assert "WARNING" not in said
    assert f"{len(list(RULES.glob('*.yml')))} rule files found" in said


def test_amtool_takes_the_configuration() -> None:
    """It is valid, and every alert goes somewhere: notes apart from what people should see."""
    assert "SUCCESS" in check("amtool", "check-config", str(CONFIG))
    routed = {
        severity: check(
            *("amtool", "config", "routes", "test", f"--config.file={CONFIG}"),
            *("alertname=OpenCodeToolSlow", f"severity={severity}"),
        ).split()[-1]
        for severity in ("critical", "warning", "info")
    }
    assert routed == {"critical": "people", "warning": "people", "info": "notes"}


def test_the_examples_of_receivers_are_valid(tmp_path: Path) -> None:
    """Taking out the `# ` before them, as the file says, leaves a valid file with three of them."""
    head, mark, receivers = CONFIG.read_text("utf-8").partition("\nreceivers:\n")
    uncommented = tmp_path / "alertmanager.yml"
    uncommented.write_text(
        head + mark + re.sub("^ {4}# ", "    ", receivers, flags=re.MULTILINE), encoding="utf-8"
    )
    check("amtool", "check-config", str(uncommented))
    [people, _] = yaml.safe_load(uncommented.read_text("utf-8"))["receivers"]
    assert set(people) == {"name", "slack_configs", "email_configs", "webhook_configs"}


def test_inhibition_names_alerts_that_exist() -> None:
    """No rule of Alertmanager speaks of an alert that Prometheus does not have."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in RULES.glob("*.yml")]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    matchers = [
        matcher
        for rule in yaml.safe_load(CONFIG.read_text("utf-8"))["inhibit_rules"]
        for side in ("source_matchers", "target_matchers")
        for matcher in rule[side]
        if matcher.startswith("alertname")
    ]
    for matcher in matchers:
        [pattern] = re.findall('"(.+)"', matcher)
        options = re.findall(r"\((.+)\)", pattern)
        names = [
            re.sub(r"\(.+\)", option, pattern)
            for option in (options[0].split("|") if options else [""])
        ]
        for name in names:
            assert any(re.fullmatch(name, alert) for alert in alerts), matcher


def test_every_target_is_up(stack: Stack) -> None:
    """Prometheus scrapes the exporter, Alertmanager and itself, each under its job."""

    def jobs() -> dict[str, str]:
        found = stack.prometheus.ask("/api/v1/targets?state=active")["data"]["activeTargets"]
        return {one["labels"]["job"]: one["health"] for one in found}

    up = dict.fromkeys(("opencode", "prometheus", "alertmanager"), "up")
    wait_for(lambda: jobs() == up, _SECONDS, every=0.2)

    def series_of(name: str) -> list[dict[str, Any]]:
        answer = stack.prometheus.ask(f"/api/v1/query?query={name}")
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    [series] = wait_for(lambda: series_of("opencode_up"), _SECONDS, every=0.2)
    assert series["metric"]["job"] == "opencode"
    assert series["metric"]["instance"] == stack.exporter.target


def test_every_rule_is_loaded_and_can_be_asked(stack: Stack) -> None:
    """All rules of all files are there, and Prometheus answers each of their expressions."""
    groups = stack.prometheus.ask("/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    texts = [path.read_text("utf-8") for path in RULES.glob("*.yml")]
    written = sum(len(re.findall(r"^\s*- (?:alert|record):", text, re.MULTILINE)) for text in texts)
    assert len(rules) == written > 0
    for rule in rules:
        assert rule["health"] in {"ok", "unknown"}, rule  # unknown: its turn has not come
        asked = str(httpx.QueryParams({"query": rule["query"]}))
        assert stack.prometheus.ask(f"/api/v1/query?{asked}")["status"] == "success"


def test_alertmanager_is_found(stack: Stack) -> None:
    """Prometheus sends alerts to the one Alertmanager, which runs with the committed file."""

    def known() -> list[str]:
        found = stack.prometheus.ask("/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        return [one["url"] for one in found]

    wait_for(known, _SECONDS, every=0.2)
    assert known() == [f"http://{stack.alertmanager.target}/api/v2/alerts"]
    receivers = stack.alertmanager.ask("/api/v2/receivers")
    assert [one["name"] for one in receivers] == ["people", "notes"]


def test_what_follows_from_another_alert_is_not_told(stack: Stack) -> None:
    """Alertmanager mutes what a cause explains: of the same exporter, database or skill only."""
    down = {"alertname": "OpenCodeExporterDown", "severity": "warning"}
    unread = {"alertname": "OpenCodeSourceDown", "severity": "warning"}
    failing = {"alertname": "OpenCodeSkillFailing", "severity": "warning"}
    stale = {"alertname": "OpenCodeExporterStale", "severity": "warning"}
    first = {"alertname": "OpenCodeSkillFirstFailure", "severity": "info"}
    sent = [
        (down | {"instance": "a"}, False),
        (failing | {"instance": "a", "skill": "x"}, True),
        (failing | {"instance": "b", "skill": "x"}, False),
        (first | {"instance": "b", "skill": "x"}, True),
        (first | {"instance": "b", "skill": "y"}, False),
        (unread | {"instance": "b", "source": "one.db"}, False),
        (stale | {"instance": "b", "source": "one.db"}, True),
        (stale | {"instance": "b", "source": "two.db"}, False),
    ]
    server = stack.alertmanager
    alerts = [{"labels": labels | {"job": "opencode"}} for labels, _ in sent]
    server.client.post(f"http://{server.target}/api/v2/alerts", json=alerts).raise_for_status()

    def told() -> list[tuple[dict[str, str], bool]]:
        found = {
            frozenset(one["labels"].items()): bool(one["status"]["inhibitedBy"])
            for one in server.ask("/api/v2/alerts")
        }
        keys = [frozenset(alert["labels"].items()) for alert in alerts]
        return [
            (labels, found[key])
            for (labels, _), key in zip(sent, keys, strict=True)
            if key in found
        ]

    wait_for(lambda: told() == sent, _SECONDS, every=0.2)
