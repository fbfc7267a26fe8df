"""The shipped alerts are valid, speak the catalogue's words, have runbooks, and fire when due."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.rules_reading import (
    ALERTS,
    CASES,
    EVERY,
    RECORDED,
    RULES,
    RUNBOOKS,
    Expression,
    Rule,
    anchors,
    cases,
    queries,
    sections,
    take_apart,
)
from documents import home
from harness.real_tools import real_tool
from opencode_exporter.catalog import ON_PAGE
from opencode_exporter.catalog.labels import LABELS

THE_ALERTS = {
    "OpenCodeSkillFailureRateHigh",
    "OpenCodeSkillFailing",
    "OpenCodeSkillFirstFailure",
    "OpenCodeSkillRunFailureRateHigh",
    "OpenCodeToolFailureRateHigh",
    "OpenCodeToolSlow",
    "OpenCodeInvocationStuck",
    "OpenCodeRetryLoop",
    "OpenCodeSkillUnused",
    "OpenCodeCostSpike",
    "OpenCodeSourceDown",
    "OpenCodeSourceUnsupported",
    "OpenCodeExporterDown",
    "OpenCodeExporterStale",
    "OpenCodeRowsRejected",
    "OpenCodeLabelOverflow",
    "OpenCodeWalLarge",
}
DASHBOARDS = {"overview", "skills", "tools", "models", "exporter"}
TARGET = {"job", "instance"}
SUFFIXES = ("", "_bucket", "_sum", "_count")
SERIES = {
    metric.name + suffix: set(metric.labels)
    for metric in ON_PAGE
    for suffix in (SUFFIXES if metric.kind == "histogram" else SUFFIXES[:1])
} | {"up": set()}
"""Every series that the rules may ask for, with its labels beside those of the target."""
SERIES |= {rule.name: set(rule.name.split(":")[0].split("_")) for rule in RECORDED}

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=[alert.name for alert in ALERTS])
each_rule = pytest.mark.parametrize("rule", EVERY, ids=[rule.name for rule in EVERY])


def promtool(*words: str) -> None:
    """Run it, and fail with what it said."""
    command = [real_tool("promtool"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def unknown_names(expression: Expression) -> set[str]:
    """Return what an expression names that neither the catalogue nor Prometheus has."""
    wrong = set(expression.metrics) - set(SERIES)
    labels = TARGET | {"__name__"} | set(LABELS)
    for metric, label, values in expression.matchers:
        wrong |= {label} - (TARGET | SERIES[metric] if metric in SERIES else labels)
        known = LABELS[label].values if label in LABELS else {}
        wrong |= set(values) - set(known) if known else set()
    for _, grouped in expression.groupings:
        wrong |= grouped - labels - {"le"}
    return wrong


# What they say.


def test_every_alert_that_was_promised_is_there_once() -> None:
    """The alerts are those of the list, each in one rule."""
    assert sorted(alert.name for alert in ALERTS) == sorted(THE_ALERTS)


@each_alert
def test_alert_says_what_whose_and_where_to_read_on(alert: Rule) -> None:
    """It has a severity, a summary, a description of one instance, a runbook and a dashboard."""
    notes = alert.said["annotations"]
    assert alert.said["labels"]["severity"] in {"critical", "warning", "info"}
    assert notes["summary"]
    assert "$labels.instance" in notes["description"]
    assert notes["runbook_url"] == f"{home.RUNBOOKS}#{alert.name.lower()}"
    assert notes["dashboard"].removeprefix("/d/opencode-") in DASHBOARDS


@each_alert
def test_alert_shows_labels_that_it_has(alert: Rule) -> None:
    """What summary and description show is a label of a series in its expression."""
    shown = set(re.findall(r"\$labels\.(\w+)", str(alert.said["annotations"])))
    series = [SERIES[metric] for metric in alert.expression.metrics]
    assert shown <= TARGET.union(*series)


@each_rule
def test_rule_names_what_the_catalogue_has(rule: Rule) -> None:
    """Each metric, label and label value in an expression exists."""
    assert not unknown_names(rule.expression)


def test_a_name_that_does_not_exist_is_found() -> None:
    """A wrong metric, label, label value or grouping does not pass."""
    promql = (
        'sum by (job, skil) (opencode_skill_loads_total{status="failed"}'
        ' + opencode_tool_in_flight{skill="x"} offset 1d) or up[1h]'
    )
    wrong = {"skil", "opencode_skill_loads_total", "failed", "skill"}
    assert unknown_names(take_apart(promql)) == wrong


@each_rule
def test_rule_keeps_job_and_instance_and_matches_no_bucket(rule: Rule) -> None:
    """Two exporters never mix, and no edge is asked for: its spelling differs by route."""
    for word, labels in rule.expression.groupings:
        if word in {"by", "on"}:
            assert labels >= TARGET
        if word in {"without", "ignoring"}:
            assert not labels & TARGET
    assert "le" not in {matcher.label for matcher in rule.expression.matchers}


@each_rule
def test_rule_takes_recorded_series_from_its_own_group(rule: Rule) -> None:
    """Groups are evaluated apart: a guard of another moment would let a jump through."""
    recorded = {metric for metric in rule.expression.metrics if ":" in metric}
    assert recorded <= rule.recorded_before


def test_every_recorded_series_is_used() -> None:
    """None is recorded for nobody."""
    used = {metric for rule in EVERY for metric in rule.expression.metrics}
    assert {rule.name for rule in RECORDED} <= used


# The runbooks.


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    """The runbooks are about the alerts, in whole."""
    assert set(sections()) == THE_ALERTS


@pytest.mark.parametrize("name", sorted(THE_ALERTS))
def test_section_says_what_it_means_and_what_to_do(name: str) -> None:
    """Each has its four parts, and its queries name what exists."""
    text = sections()[name]
    parts = re.findall(r"^\*\*([^*]+)\.\*\*", text, re.MULTILINE)
    assert parts == ["Means", "Look at", "Do", "Silence or change"]
    for query in queries(text):
        assert not unknown_names(take_apart(query))


def test_links_of_the_runbooks_and_to_them_lead_somewhere() -> None:
    """Files exist, anchors have a heading, and the alerts' links end at one."""
    text = RUNBOOKS.read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        page = (RUNBOOKS.parent / path).resolve() if path else RUNBOOKS
        assert page.exists()
        assert not anchor or anchor in anchors(page.read_text("utf-8"))
    ends = {alert.said["annotations"]["runbook_url"].partition("#")[2] for alert in ALERTS}
    assert ends <= anchors(text)


@pytest.mark.real
def test_queries_of_the_runbooks_are_valid(tmp_path: Path) -> None:
    """Prometheus parses each query that a runbook tells somebody to run."""
    asked = [query for text in sections().values() for query in queries(text)]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(asked)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}), "utf-8")
    promtool("check", "rules", str(file))


# Whether they fire.


@each_alert
def test_alert_has_a_case_that_fires_and_one_that_stays_silent(alert: Rule) -> None:
    """For each alert promtool is asked for both."""
    asked = [
        bool(question.get("exp_alerts"))
        for _, case in cases()
        for question in case.get("alert_rule_test", ())
        if question["alertname"] == alert.name
    ]
    assert set(asked) == {True, False}


def test_every_case_is_named_as_a_sentence() -> None:
    """Each says what it holds, no two the same, and asks something."""
    names = [case["name"] for _, case in cases()]
    assert len(set(names)) == len(names)
    for _, case in cases():
        assert re.match(r"[A-Z].* .*[^.]$", case["name"])
        assert case.get("alert_rule_test") or case.get("promql_expr_test")


@pytest.mark.real
def test_rules_are_valid() -> None:
    """Prometheus takes them, and its linter has nothing to say."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


@pytest.mark.real
@pytest.mark.parametrize("file", CASES, ids=[file.stem for file in CASES])
def test_alerts_fire_when_due_and_only_then(file: Path) -> None:
    """The cases of a file hold, evaluated by Prometheus' own engine."""
    promtool("test", "rules", str(file))
