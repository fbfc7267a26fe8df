"""
Dashboards and alerts say the same of an exporter that is scraped and of one that pushes.

One history arrives by both routes: as scraped, and as the collector of deploy/ shows what
was pushed. Real Prometheus is asked for the panels, and promtool runs the rules.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.collecting import configuration
from deploy.rules_reading import EVERY, RULES, Rule
from deploy.two_routes import LENGTH_S, PUSHED, SCRAPED, STEP_S, TwoRoutes, two_routes
from grafana.dashboards import UIDS, Query, dashboard
from grafana.shown import Series, Shown
from grafana.templating import Times
from harness.exporters import Labels
from harness.processes.prometheus import Prometheus
from harness.real_tools import real_tool

ONLY_SCRAPED = {"up"}
"""Series that no push has; `process_*` is one more, which the history leaves out."""
ONLY_PUSHED = {f"gen_ai_execute_tool_duration_seconds_{end}" for end in ("bucket", "sum", "count")}
SILENT = {
    "OpenCodeExporterDown": "it answers all the time",
    "OpenCodeSourceDown": "its database can be read",
    "OpenCodeSourceUnsupported": "its database is known",
    "OpenCodeWalLarge": "its log is small",
    "OpenCodeSkillUnused": "that takes 30 days",
    "OpenCodeCostSpike": "that takes a week",
    "OpenCodeToolSlow": "that takes a week",
}
"""Rules that have nothing to say of this history, and why."""
each = pytest.mark.parametrize("uid", UIDS)


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> TwoRoutes:
    """One history by both routes, through the collector as it is configured."""
    return two_routes(tmp_path_factory.mktemp("routes"), configuration("collector.yaml"))


@pytest.fixture(scope="module")
def shown(routes: TwoRoutes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Dashboards over a Prometheus that has both."""
    directory = tmp_path_factory.mktemp("shown")
    history = directory / "history"
    with history.open("w", encoding="utf-8") as file:
        file.writelines(routes.as_openmetrics())
    with Prometheus("", directory / "prometheus", history=history) as prometheus:
        times = Times(routes.end_s - 6 * 3600, routes.end_s, step=300, scrape=STEP_S)
        yield Shown(prometheus, times, [SCRAPED, PUSHED], LENGTH_S)


def plain(labels: Labels) -> Labels:
    """Return labels with the edge of a bucket as a number, however it was written."""
    return frozenset((name, str(float(text)) if name == "le" else text) for name, text in labels)


@pytest.mark.slow
def test_series_are_the_same_by_both_routes(routes: TwoRoutes) -> None:
    """Each series has the same name and labels; only what is declared is on one route alone."""
    scraped, pushed = (
        {name: set(map(plain, labels)) for name, labels in routes.names(instance).items()}
        for instance in (SCRAPED, PUSHED)
    )
    assert set(scraped) - set(pushed) == ONLY_SCRAPED
    assert set(pushed) - set(scraped) == ONLY_PUSHED
    assert {name for name in set(scraped) & set(pushed) if scraped[name] != pushed[name]} == set()
    assert sum(map(len, scraped.values())) > 900


@pytest.mark.slow
def test_edges_are_written_as_each_route_does(routes: TwoRoutes) -> None:
    """A page says `1.0` and the collector `1`: whoever asked for one would miss the other."""
    edges = {
        instance: {
            text
            for labels in routes.names(instance)["opencode_turn_duration_seconds_bucket"]
            for name, text in labels
            if name == "le"
        }
        for instance in (SCRAPED, PUSHED)
    }
    assert {"1.0", "2.5", "+Inf"} <= edges[SCRAPED]
    assert {"1", "2.5", "+Inf"} <= edges[PUSHED]
    assert "1" not in edges[SCRAPED]
    assert "1.0" not in edges[PUSHED]


def comparable(answer: list[Series]) -> dict[tuple[Labels, bool], list[float]]:
    """Return an answer without what tells one route from the other."""
    return {
        (
            plain(frozenset(p for p in one.labels.items() if p[0] not in {"job", "instance"})),
            one.is_instant,
        ): one.values
        for one in answer
    }


def agrees(shown: Shown, uid: str, query: Query) -> bool:
    """Return whether both routes answer the same, but for how sums are rounded."""
    scraped, pushed = (comparable(shown.answer(uid, query, name)) for name in (SCRAPED, PUSHED))
    return scraped == {
        key: pytest.approx(values, rel=1e-9, nan_ok=True) for key, values in pushed.items()
    }


@pytest.mark.real
@each
def test_every_panel_answers_the_same(uid: str, shown: Shown) -> None:
    """Each target and annotation has one answer by both routes, and most have one at all."""
    board = dashboard(uid)
    queries = [*board.queries, *board.annotation_queries]
    wrong = [f"{q.place} {q.ref}: {q.expr}" for q in queries if not agrees(shown, uid, q)]
    assert not wrong, "\n".join(wrong)
    answered = [query for query in queries if shown.answer(uid, query, PUSHED)]
    assert len(answered) > 0.7 * len(queries)


@pytest.mark.real
@each
def test_every_variable_offers_the_same(uid: str, shown: Shown) -> None:
    """One can choose the same skills, tools and so on, and either instance."""
    scraped, pushed = (shown.offered(uid, name) for name in (SCRAPED, PUSHED))
    assert scraped == pushed
    assert sorted(scraped["instance"]) == [PUSHED, SCRAPED]


def said_by(rule: Rule, instance: str) -> str:
    """Return all that a rule said of an instance, without saying which."""
    matcher = f'instance="{instance}"'
    name = rule.name
    if "alert" in rule.said:
        name, matcher = "ALERTS", f'alertname="{rule.name}", {matcher}'
    over_time = f"sum_over_time({name}{{{matcher}}}[{LENGTH_S}s])"
    return f'label_replace({over_time}, "instance", "", "", "")'


def questions(rule: Rule) -> Iterator[dict[str, Any]]:
    """Yield what promtool is asked of a rule: that nothing differs, and whether it spoke."""
    scraped, pushed = (said_by(rule, instance) for instance in (SCRAPED, PUSHED))
    differs = (
        f"{scraped} unless {pushed} or {pushed} unless {scraped} "
        f"or abs({scraped} - {pushed}) > 1e-6"  # sums of many are rounded in another order
    )
    spoke = [] if rule.name in SILENT else [{"labels": "{}", "value": 1}]
    for expr, answer in ((differs, []), (f"count({scraped}) > bool 0", spoke)):
        yield {"expr": expr, "eval_time": f"{LENGTH_S - STEP_S}s", "exp_samples": answer}


@pytest.mark.real
def test_every_rule_says_the_same(routes: TwoRoutes, tmp_path: Path) -> None:
    """Recorded series and alerts, evaluated each minute for eight hours, are those of a scrape."""
    case = {
        "interval": f"{STEP_S}s",
        "input_series": routes.as_input_series(),
        "promql_expr_test": [question for rule in EVERY for question in questions(rule)],
    }
    file = tmp_path / "routes.yml"
    tests = {"rule_files": list(map(str, RULES)), "evaluation_interval": "1m", "tests": [case]}
    file.write_text(json.dumps(tests), "utf-8")
    done = subprocess.run(
        [real_tool("promtool"), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_silent_rule_is_one() -> None:
    """A rule that is gone or was renamed leaves no exception behind."""
    assert {rule.name for rule in EVERY} >= set(SILENT)
