"""Skills: which are used, which fail, what do they bring and cost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import looks, panels, skill, tables
from boards.board import board, one
from boards.queries import (
    by,
    ever,
    failure_rate,
    in_range,
    pick,
    quantile,
    rate,
    share,
    success_rate,
    total,
)
from boards.tables import Column
from opencode_exporter import catalog as c

SKILL: Final = ("skill",)
REAL: Final = 'skill!~"_.*"'
TO_DETAIL: Final = (
    "In detail",
    (
        "/d/opencode-skills?var-skill=${__value.raw}&${__url_time_range}&${datasource:queryparam}"
        "&${job:queryparam}&${instance:queryparam}&${over:queryparam}"
    ),
)


def _change() -> str:
    """Return how much more a skill is loaded than in the time range before, as a share."""
    now = in_range(c.SKILL_INVOCATIONS, SKILL)
    before = by(SKILL, f"increase({pick(c.SKILL_INVOCATIONS)}[$__range] offset $__range)")
    return f"({now} - {before}) / ({before} > 0)"


def _leaderboard() -> panels.AnyPanel:
    changes = {-100: "orange", -0.2: "text", 0.2: "green"}
    return tables.table(
        "Leaderboard",
        "Which skills are used, do they work, and what do they cost?",
        {"skill": "Skill"},
        [
            Column("Loads", f"{total(c.SKILL_INVOCATIONS, SKILL)} > 0", decimals=0, bar=True),
            Column("Trend", _change(), unit=looks.SHARE, decimals=0, steps=changes, width=80),
            Column(
                "Failed",
                failure_rate(c.SKILL_INVOCATIONS, SKILL),
                unit=looks.SHARE,
                decimals=1,
                steps=looks.FAILURES,
                width=80,
            ),
            Column("p95", quantile(0.95, c.SKILL_DURATION, SKILL), unit="s", decimals=1, width=85),
            Column("Runs", total(c.SKILL_RUNS, SKILL), decimals=0, width=70),
            Column(
                "Run success",
                success_rate(c.SKILL_RUNS, SKILL),
                unit=looks.SHARE,
                decimals=0,
                steps=looks.SUCCESSES,
                width=110,
            ),
            Column(
                "Retries a run",
                share(total(c.SKILL_RUN_RETRIES, SKILL), total(c.SKILL_RUNS, SKILL)),
                decimals=1,
                width=110,
            ),
            Column("Tokens", total(c.SKILL_RUN_TOKENS, SKILL), unit=looks.LARGE, width=90),
            Column(
                "Cost",
                total(c.SKILL_RUN_COST, SKILL),
                unit="currencyUSD",
                decimals=2,
                width=85,
            ),
            Column(
                "A run",
                share(total(c.SKILL_RUN_COST, SKILL), total(c.SKILL_RUNS, SKILL)),
                unit="currencyUSD",
                decimals=2,
                width=85,
            ),
            Column(
                "Last used",
                f"1000 * max by (skill) ({pick(c.SKILL_LAST_USED)})",
                unit="dateTimeFromNow",
                width=155,
            ),
            Column("Sessions", total(c.SKILL_SESSIONS, SKILL), decimals=0, width=85),
        ],
        link=TO_DETAIL,
        label_width=190,
        none="no skill was loaded",
        height=10,
    )


def _use() -> list[panels.AnyPanel]:
    return [
        panels.lines(
            "Loads an hour by skill",
            "When is which skill used?",
            {"{{skill}}": f"3600 * {rate(c.SKILL_USAGE, SKILL)}"},
            unit=looks.PER_HOUR,
            stacked=True,
            interval=panels.RARE,
            width=10,
        ),
        tables.table(
            "Failures",
            "Why do loads fail?",
            {"skill": "Skill", "reason": "Reason"},
            [
                Column(
                    "Times",
                    f"{total(c.SKILL_ERRORS, ('skill', 'reason'))} >= 0.5",
                    decimals=0,
                    steps={0: "red"},
                    bar=True,
                )
            ],
            label_width=160,
            none="no load failed",
            width=8,
            height=8,
        ),
        tables.table(
            "Installed but never used",
            "Which skills on disk has nobody ever loaded, as far as history goes?",
            {"skill": "Skill", "scope": "Scope"},
            [
                Column(
                    "On disk",
                    f"max by (skill, scope) ({pick(c.SKILL_INSTALLED)}) unless on (skill) "
                    f"({ever(c.SKILL_INVOCATIONS, SKILL)} > 0)",
                    hidden=True,
                )
            ],
            sort="Skill",
            none="every skill on disk has been used",
            width=6,
            height=8,
        ),
    ]


def _patterns() -> list[panels.AnyPanel]:
    pair = ("from_skill", "to_skill")
    pairs = total(c.SKILL_TRANSITIONS, pair)
    starts = total(c.SKILL_TRANSITIONS, ("from_skill",))
    return [
        tables.table(
            "What follows what",
            "Which skill is loaded next in the same session?",
            {"from_skill": "After", "to_skill": "comes"},
            [
                Column("Times", f"topk(30, {pairs} >= 0.5)", decimals=0, bar=True),
                Column(
                    "of all",
                    f"{pairs} / on (from_skill) group_left () ({starts} > 0)",
                    unit=looks.SHARE,
                    decimals=0,
                    width=80,
                ),
            ],
            label_width=160,
            none="no two skills were loaded in one session",
            width=12,
        ),
        tables.matrix(
            "Success by agent",
            "Which agent's loads of a skill fail?",
            f"1 - ({failure_rate(c.SKILL_USAGE, ('skill', 'agent'), REAL)})",
            ("skill", "Skill"),
            "agent",
            unit=looks.SHARE,
            steps=looks.SUCCESSES,
            none="no skill was loaded",
        ),
    ]


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "opencode-skills",
        "Skills: which are used, which fail, what do their runs bring and cost?",
        {
            "": [_leaderboard()],
            "Use": _use(),
            "Patterns": _patterns(),
            "One skill in detail: $skill": skill.detail(),
        },
        extra=[one("skill", c.SKILL_LAST_USED, REAL)],
    )
