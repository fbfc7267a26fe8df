"""The exporter itself: does it see the databases, is it up to date, what does it set aside."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import looks, panels, tables
from boards.board import board
from boards.queries import IDENTITY, by, in_range, pick, quantile, rate
from boards.tables import Column
from opencode_exporter import catalog as c

SOURCE: Final = ("source",)
AGE: Final[looks.Steps] = {0: looks.GOOD, 120: looks.FAIR, 300: looks.WORST}
"""Seconds since a poll: without any change there is one every 30 seconds."""
NONE: Final = "or vector(0)"
YES_OR_NO: Final = looks.words({"0": ("no", "red"), "1": ("yes", "green")})


def _process(name: str) -> str:
    """Return the selector of a metric of the Prometheus client library about its process."""
    return f"process_{name}{{{IDENTITY}}}"


def _heroes() -> list[panels.AnyPanel]:
    return [
        panels.numbers(
            "State",
            "Can the exporter read all databases, and does it know their tables?",
            {
                "readable": f"min({pick(c.UP)})",
                "supported": f"min({pick(c.SOURCE_SUPPORTED)})",
            },
            unit="none",
            steps=looks.ONE_IS_GOOD,
            mappings=YES_OR_NO,
        ),
        panels.numbers(
            "History",
            "Has all been counted that was there before, and what came while it was down?",
            {
                "read": f"min({pick(c.HISTORY_PROGRESS)})",
                "up to date": f"1 - max({pick(c.CATCHING_UP)})",
            },
            unit=looks.SHARE,
            decimals=0,
            steps=looks.ONE_IS_GOOD,
            mappings=YES_OR_NO,
        ),
        panels.numbers(
            "Running for",
            "When did this process start, and when did counting begin?",
            {
                "this process": f"time() - min({pick(c.START)})",
                "counting": f"time() - min({pick(c.BASELINE)})",
            },
            unit="dtdurations",
            decimals=0,
        ),
        panels.numbers(
            "Last poll",
            "How old is what the exporter shows?",
            {"ago": f"time() - min({pick(c.LAST_POLL)})"},
            unit="s",
            decimals=0,
            steps=AGE,
            moving=True,
        ),
        panels.numbers(
            "Set aside",
            "Were rows rejected in this time range, or names cut off as there were too many?",
            {
                "rows": f"{in_range(c.ROWS_REJECTED, ())} {NONE}",
                "labels": f"{in_range(c.LABEL_OVERFLOW, ())} {NONE}",
            },
            decimals=0,
            steps=looks.NONE_IS_GOOD,
        ),
        panels.numbers(
            "Exporter's share",
            "What does the exporter use of this machine (where the system tells it)?",
            {
                "memory": f"max({_process('resident_memory_bytes')})",
                "ledger on disk": f"max({pick(c.LEDGER_BYTES)})",
            },
            unit="bytes",
            decimals=1,
        ),
    ]


def _sources() -> panels.AnyPanel:
    def size(part: str) -> str:
        return by(SOURCE, pick(c.SOURCE_BYTES, f'part="{part}"'))

    newest = f"1000 * max by (source) ({pick(c.SOURCE_LAST_EVENT)})"
    return tables.table(
        "Databases",
        "Which databases are read, how large are they, and what is the newest in them?",
        {"source": "Database"},
        [
            Column("Readable", f"min by (source) ({pick(c.UP)})", mappings=YES_OR_NO),
            Column(
                "Supported", f"min by (source) ({pick(c.SOURCE_SUPPORTED)})", mappings=YES_OR_NO
            ),
            Column("Size", size("main"), unit="bytes"),
            Column("WAL", size("wal"), unit="bytes", steps={0: "text", 2**28: looks.BAD}),
            Column("Newest event", newest, unit="dateTimeFromNow"),
        ],
        sort="Database",
        width=14,
        height=5,
    )


def _versions() -> panels.AnyPanel:
    labels = {
        "source": "Database",
        "generation": "Storage",
        "opencode_version": "OpenCode",
    }
    query = f"max by (source, generation, opencode_version) ({pick(c.SOURCE_INFO)})"
    return tables.table(
        "Versions",
        "Which generation of storage is it, and which OpenCode wrote it last?",
        labels,
        [Column("Known", query, hidden=True)],
        sort="Database",
        width=10,
        height=5,
    )


def _polls() -> list[panels.AnyPanel]:
    states = looks.words({"0": ("cannot be read", "red"), "1": ("readable", "green")})
    return [
        panels.states(
            "Readable", "When could each database be read?", {"{{source}}": pick(c.UP)}, states
        ),
        panels.lines(
            "Time since the last poll",
            "Is what the exporter shows up to date?",
            {"{{source}}": f"time() - {by(SOURCE, pick(c.LAST_POLL))}"},
            unit="s",
            steps=AGE,
            interval="15s",
            height=6,
        ),
        panels.lines(
            "Polls a minute",
            "How often is the database looked at, and does that fail?",
            {"{{result}}": f"60 * {rate(c.POLLS, ('result',))}"},
            unit=looks.PER_MINUTE,
            stacked=True,
            width=8,
        ),
        panels.lines(
            "Duration of polls",
            "How long does a poll take?",
            {
                "median": quantile(0.5, c.POLL_DURATION, (), count=rate),
                "p99": quantile(0.99, c.POLL_DURATION, (), count=rate),
            },
            unit="s",
            width=8,
        ),
        panels.lines(
            "Rows read a minute",
            "How much is written that the exporter has to read?",
            {"{{table}}": f"60 * {rate(c.ROWS_READ, ('table',))}"},
            unit=looks.PER_MINUTE,
            stacked=True,
            width=8,
        ),
    ]


def _oddities() -> list[panels.AnyPanel]:
    rejected = ("table", "cause")
    return [
        panels.leaders(
            "Rejected rows since the beginning",
            "Which rows could not be decoded?",
            {"{{table}}: {{cause}}": f"sort_desc({by(rejected, pick(c.ROWS_REJECTED))})"},
            steps={0: looks.BAD},
            none="none: every row could be decoded",
            width=6,
            height=6,
        ),
        panels.leaders(
            "Labels beyond the limit since the beginning",
            "Which metrics have so many series that some went to _other?",
            {"{{metric}}": f"sort_desc({by(('metric',), pick(c.LABEL_OVERFLOW))})"},
            steps={0: looks.BAD},
            none="none: every name has its own series",
            width=6,
            height=6,
        ),
        panels.leaders(
            "Copies skipped since the beginning",
            "How many events were repeated by forks and upgrades, and not counted again?",
            {"{{cause}}": f"sort_desc({by(('cause',), pick(c.COPIES_SKIPPED))})"},
            width=6,
            height=6,
        ),
        panels.leaders(
            "Late and lost since the beginning",
            "What ended after it had been given up, and which work of sub-agents has no beginning?",
            {
                "late: {{status}}": f"sort_desc({by(('status',), pick(c.LATE_ENDS))})",
                "no beginning": f"sum({pick(c.UNATTRIBUTED)})",
            },
            width=6,
            height=6,
        ),
    ]


def _room() -> list[panels.AnyPanel]:
    def part(name: str, question: str, title: str) -> panels.AnyPanel:
        size = pick(c.SOURCE_BYTES, f'part="{name}"')
        return panels.lines(
            title,
            question,
            {"{{source}}": by(SOURCE, size)},
            unit="bytes",
            width=6,
        )

    return [
        part("main", "How fast does the database grow?", "Size of the database"),
        part("wal", "Does OpenCode's write-ahead log grow without end?", "Size of its WAL"),
        panels.lines(
            "Size of the ledger",
            "How much room does what has been counted take?",
            {"ledger": f"sum({pick(c.LEDGER_BYTES)})"},
            unit="bytes",
            width=6,
        ),
        panels.lines(
            "Processor time",
            "What part of a core does the exporter use (where the system tells it)?",
            {"exporter": f"sum(rate({_process('cpu_seconds_total')}[$__rate_interval]))"},
            unit=looks.SHARE,
            width=6,
        ),
    ]


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "opencode-exporter",
        "The exporter itself: does it see the databases, is it up to date, what is set aside?",
        {
            "": [*_heroes(), _sources(), _versions()],
            "Polls": _polls(),
            "Set aside": _oddities(),
            "Room": _room(),
        },
        filtered=False,
    )
