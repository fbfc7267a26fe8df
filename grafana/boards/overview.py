"""The overview: is all well, what fails now, what is used most, what does it cost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import looks, panels, tables
from boards.board import board
from boards.queries import (
    by,
    ever,
    failure_rate,
    in_range,
    pick,
    rate,
    spans,
    top,
    total,
)
from opencode_exporter import catalog as c

TO_SKILL: Final = (
    "The skill in detail",
    (
        "/d/opencode-skills?var-skill=${__field.labels.skill}&${__url_time_range}&${datasource:queryparam}"
        "&${job:queryparam}&${instance:queryparam}"
    ),
)
TO_TOOL: Final = (
    "The tool in detail",
    (
        "/d/opencode-tools?var-tool=${__field.labels.tool}&${__url_time_range}&${datasource:queryparam}"
        "&${job:queryparam}&${instance:queryparam}"
    ),
)


def _heroes() -> list[panels.AnyPanel]:
    state = looks.words({"0": ("down", "red"), "1": ("up", "green")})
    return [
        panels.numbers(
            "Invocations",
            "How often did agents use a tool?",
            spans(lambda count: count(c.TOOL_USAGE, ())),
            unit=looks.LARGE,
        ),
        panels.numbers(
            "Failure rate",
            "How many of the invocations that ended failed?",
            spans(lambda count: failure_rate(c.TOOL_USAGE, (), count=count)),
            unit=looks.SHARE,
            decimals=1,
            steps=looks.FAILURES,
        ),
        panels.numbers(
            "Skill loads",
            "How often was a skill loaded?",
            spans(lambda count: count(c.SKILL_USAGE, ())),
        ),
        panels.numbers(
            "Cost",
            "What did the models cost today, by this browser's clock?",
            {"today": in_range(c.COST, ()), "since the beginning": ever(c.COST, ())},
            unit="currencyUSD",
            since="now/d",
        ),
        panels.numbers(
            "Active sessions",
            "How many sessions changed in the last 5 minutes?",
            {"now": pick(c.SESSIONS_ACTIVE)},
            moving=True,
        ),
        panels.numbers(
            "Databases",
            "Can the exporter read OpenCode's databases?",
            {"{{source}}": f"min by (source) ({pick(c.UP)})"},
            unit="none",
            steps=looks.ONE_IS_GOOD,
            mappings=state,
        ),
    ]


def _named(expression: str, label: str, kind: str) -> str:
    """Return an expression by skill or tool with the labels `name` and `kind` instead."""
    named = f'label_replace({expression}, "name", "$1", "{label}", "(.*)")'
    return by(("kind", "name"), f'label_replace({named}, "kind", "{kind}", "", "")')


def _both(failures_of_skills: str, failures_of_tools: str) -> str:
    skills = _named(failures_of_skills, "skill", "skill")
    return f"{skills} or {_named(failures_of_tools, 'tool', 'tool')}"


def _now() -> list[panels.AnyPanel]:
    error = 'status="error"'
    others = 'tool!="skill"'  # its failures are those of skills
    failures = _both(
        in_range(c.SKILL_INVOCATIONS, ("skill",), error),
        in_range(c.TOOL_INVOCATIONS, ("tool",), error, others),
    )
    rates = _both(
        failure_rate(c.SKILL_INVOCATIONS, ("skill",), count=in_range),
        failure_rate(c.TOOL_INVOCATIONS, ("tool",), others, count=in_range),
    )
    return [
        tables.table(
            "What is failing",
            "Which skills and tools fail, and how large a part of their invocations is that?",
            {"name": "Name", "kind": "Kind"},
            [
                tables.Column("Failures", f"({failures}) >= 0.5", decimals=0, width=90),
                tables.Column(
                    "Failure rate",
                    rates,
                    unit=looks.SHARE,
                    decimals=1,
                    steps=looks.FAILURES,
                    bar=True,
                ),
            ],
            none="nothing failed in this time range",
            width=12,
            height=8,
        ),
        panels.alerts("Alerts", "Which alerts fire now, or are about to?"),
    ]


def _trend() -> list[panels.AnyPanel]:
    minute = f"60 * {rate(c.TOOL_USAGE, ('status',))}"
    return [
        panels.lines(
            "Invocations a minute by status",
            "How busy are agents, and how do their invocations end?",
            {"{{status}}": minute},
            unit=looks.PER_MINUTE,
            stacked=True,
        ),
        panels.lines(
            "Failure rate over time",
            "Do skills or tools fail more than they did?",
            {
                "skills": failure_rate(c.SKILL_USAGE, (), count=rate),
                "tools": failure_rate(c.TOOL_USAGE, (), count=rate),
            },
            unit=looks.SHARE,
            steps=looks.FAILURES,
            interval=panels.RARE,
        ),
    ]


def _leaders() -> list[panels.AnyPanel]:
    return [
        panels.leaders(
            "Top skills",
            "Which skills are used most?",
            {"{{skill}}": top(10, total(c.SKILL_USAGE, ("skill",)))},
            link=TO_SKILL,
            height=9,
        ),
        panels.leaders(
            "Top tools",
            "Which tools are used most?",
            {"{{tool}}": top(10, total(c.TOOL_USAGE, ("tool",)))},
            link=TO_TOOL,
            height=9,
        ),
    ]


def _work() -> list[panels.AnyPanel]:
    return [
        panels.lines(
            "Cost an hour by project",
            "Where does the money go?",
            {"{{project}}": f"3600 * {rate(c.COST, ('project',))}"},
            unit="currencyUSD",
            stacked=True,
            interval=panels.RARE,
        ),
        panels.lines(
            "Turns an hour by outcome",
            "How does what people ask for end?",
            {"{{outcome}}": f"3600 * {rate(c.TURNS, ('outcome',))}"},
            unit=looks.PER_HOUR,
            stacked=True,
            interval=panels.RARE,
        ),
    ]


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "opencode-overview",
        "OpenCode at a glance: is all well, what fails, what is used, what does it cost?",
        {
            "": _heroes(),
            "Now": _now(),
            "Trend": _trend(),
            "Most used": _leaders(),
            "Work": _work(),
        },
    )
