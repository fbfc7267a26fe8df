"""Names become labels only when they are real, and only so many of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed
from harness.pages import CALLS, counted, polled

OVERFLOW = "opencode_exporter_label_overflow_total"
LOADS = "opencode_skill_invocations_total"
USAGE = "opencode_tool_usage_total"


def skill(db: V1, message: str, name: str, **facts: Any) -> str:
    """Write a v1 skill load."""
    if facts.get("status", "completed") == "completed":
        facts["metadata"] = {"name": name, "truncated": False}
    return db.tool(message, tool="skill", input={"name": name}, **facts)


def test_tools_past_the_limit_are_other(bench: Bench) -> None:
    """At most 100 values of a label are shown; the calls of further tools count as `_other`."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        for number in range(101):
            db.tool(message, tool=f"tool_{number}")
        page = polled(exporter)
        by_tool = page.by(CALLS, "tool")
        assert by_tool.total() == 101
        assert len(by_tool) == 99
        assert by_tool["_other",] == 3
        assert len({dict(labels)["tool"] for labels in page.samples[CALLS]}) == 100
        for metric in (CALLS, USAGE, "opencode_tool_duration_seconds"):
            assert page.value(OVERFLOW, metric=metric) == 3
        db.tool(message, tool="tool_0")
        db.tool(message, tool="tool_100")
        page = polled(exporter)
        assert page.by(CALLS, "tool")["tool_0",] == 2
        assert page.by(CALLS, "tool")["_other",] == 4
        assert page.value(OVERFLOW, metric=CALLS) == 4
    exporter.close()
    exporter = bench.exporter()
    assert polled(exporter).by(CALLS, "tool")["_other",] == 4
    exporter.close()


def test_series_past_the_limit_give_way(bench: Bench) -> None:
    """A metric keeps to `--labels.series-limit`, and its sums still agree."""
    exporter = bench.exporter(series_limit=60)
    with V1(bench.source) as db:
        for agent in range(20):
            message = db.message(db.session(), agent=f"agent-{agent}")
            for tool in ("read", "grep", "glob", "edit", "write"):
                db.tool(message, tool=tool)
        page = polled(exporter)
    for metric, series in page.samples.items():
        if metric.startswith("opencode_") and not metric.endswith("_bucket"):
            assert len(series) <= 60, metric
    assert page.total(CALLS) == page.total(USAGE) == 100
    assert page.by(USAGE, "status") == page.by(CALLS, "status")
    assert (page.value(OVERFLOW, metric=USAGE) or 0) >= 40
    exporter.close()


def test_unknown_skill_is_unknown_until_it_is_real(bench: Bench) -> None:
    """What a model asked for becomes a label once it is a skill that has been loaded."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        error = 'Skill "made up by a model" not found.'
        skill(db, message, "made up by a model", status="error", error=error)
        skill(db, message, "later", status="error", error='Skill "later" not found.')
        page = polled(exporter)
        assert page.by(LOADS, "skill", "status") == {("_unknown", "error"): 2}
        assert page.value("opencode_skill_errors_total", skill="_unknown", reason="not_found") == 2
        assert "made up" not in page.page
        skill(db, message, "later")
        skill(db, message, "later", status="error", error="it failed")
        page = polled(exporter)
        assert page.by(LOADS, "skill", "status") == {
            ("_unknown", "error"): 2,
            ("later", "completed"): 1,
            ("later", "error"): 1,
        }
        for status in ("abandoned", "aborted", "denied"):
            assert page.value(LOADS, skill="later", status=status) == 0
    assert "made up" not in page.page
    exporter.close()


def test_skill_loads_of_the_model(bench: Bench) -> None:
    """Loads are told apart by session: the first there, or again; first and last use are kept."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        skill(db, message, "commit", output="steps")
        skill(db, message, "commit", output="steps")
        message = db.message(db.session())
        skill(db, message, "commit", output="stéps", start=db.now + 60_000)
        sql = "SELECT min({0}), max({0}) FROM part"
        sql = sql.format("json_extract(data, '$.state.time.start')")
        times: Any = db.db.execute(sql).fetchone()
        first, last = times
        for _ in range(2):
            page = polled(exporter)
            assert shown(page, "sessions_total") == 2
            assert shown(page, "reloads_total") == 1
            assert shown(page, "content_bytes_total") == 5 + 5 + 6
            assert shown(page, "first_used_timestamp_seconds") == first / 1000
            assert shown(page, "last_used_timestamp_seconds") == last / 1000
            db.session()
    usage = page.by("opencode_skill_usage_total", "skill", "trigger", "agent", "project")
    assert usage == {("commit", "model", "build", "demo"): 3}
    assert counted(page) == {("skill", "completed"): 3}
    exporter.close()


def shown(page: Exposed, metric: str) -> float | None:
    """Return what a metric says of the skill `commit`."""
    return page.value(f"opencode_skill_{metric}", skill="commit")


def test_skill_loads_of_the_user(bench: Bench) -> None:
    """Slash commands and mentions of 2.x are loads by the user, and no tool calls."""
    exporter = bench.exporter()
    with V2(bench.source) as db:
        session = db.session()
        db.skill_row(session, "commit", content="steps")
        db.user(session, skills=("commit", "review"))
        db.assistant(
            session, [call(name="skill", input={"id": "commit"}, metadata={"name": "commit"})]
        )
        db.fork(session)
        for _ in range(2):
            page = polled(exporter)
            assert page.by("opencode_skill_usage_total", "skill", "trigger", "status") == {
                ("commit", "user", "completed"): 2,
                ("review", "user", "completed"): 1,
                ("commit", "model", "completed"): 1,
            }
            assert page.by(LOADS, "skill") == {("commit",): 3, ("review",): 1}
            assert shown(page, "sessions_total") == 1
            assert shown(page, "reloads_total") == 2
            assert shown(page, "content_bytes_total") == 5 + 5 + 2
            assert counted(page) == {("skill", "completed"): 1}
            assert page.value("opencode_exporter_copies_skipped_total", cause="fork") == 4
            db.session()
    exporter.close()


@pytest.mark.parametrize("how", ["name", "hash", "off"])
def test_projects_are_shown_as_told(bench: Bench, how: str) -> None:
    """`--labels.project` names projects, hashes them with a salt, or leaves them out."""
    with V1(bench.source) as db:
        for project in ("secret-plan", "secret-plan", "other", "global"):
            db.tool(db.message(db.session(project=project)))
    exporter = bench.exporter(project_names=how)
    page = polled(exporter)
    by_project = page.by(USAGE, "project")
    assert by_project.total() == 4
    if how == "name":
        assert by_project == {("secret-plan",): 2, ("other",): 1, ("global",): 1}
    elif how == "off":
        assert by_project == {("",): 4}
    else:
        assert sorted(by_project.values()) == [1, 1, 2]
        assert all(re.fullmatch("[0-9a-f]{8}", project) for (project,) in by_project)
    assert ("secret-plan" in page.page) == (how == "name")
    exporter.close()
    again = bench.exporter(project_names=how)
    assert polled(again).by(USAGE, "project") == by_project
    again.close()
    elsewhere = bench.read_once(project_names=how).by(USAGE, "project")
    assert (elsewhere == by_project) == (how != "hash")
