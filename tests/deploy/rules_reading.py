"""
The shipped rules, their runbooks and their promtool tests, read for the tests of them.

Takes expressions apart into names; what may stand in them is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from harness.places import ROOT

RULES: Final = tuple(sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")))
RUNBOOKS: Final = ROOT / "deploy" / "prometheus" / "RUNBOOKS.md"
CASES: Final = tuple(sorted((ROOT / "tests" / "deploy" / "rules").glob("*.yml")))

_STRING: Final = r'"[^"]*"'
_BRACES: Final = re.compile(r"([\w:]*)\s*\{([^}]*)\}")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING: Final = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_ASIDE: Final = re.compile(r"\[[^\]]*\]|\boffset\s+\w+|\b(?:and|or|unless|bool)\b")
_NAME: Final = re.compile(r"(?<![\w.])[a-zA-Z_][\w:]*(?!\s*\()(?![\w:])")


class Matcher(NamedTuple):
    """A selection by a label: of which metric (may be empty), and which values."""

    metric: str
    label: str
    values: tuple[str, ...]


class Expression(NamedTuple):
    """The names in an expression; ``groupings`` are pairs of keyword and labels."""

    metrics: frozenset[str]
    matchers: tuple[Matcher, ...]
    groupings: tuple[tuple[str, frozenset[str]], ...]


class Rule(NamedTuple):
    """A rule as it stands in its file, with the series recorded before it in its group."""

    name: str
    file: Path
    said: dict[str, Any]
    recorded_before: frozenset[str]

    @property
    def expression(self) -> Expression:
        """The names in its expression."""
        return take_apart(self.said["expr"])


def take_apart(promql: str) -> Expression:
    """Return the names in an expression."""
    matchers = tuple(
        Matcher(metric, label, tuple(values.split("|")))
        for metric, inside in _BRACES.findall(promql)
        for label, _, values in _MATCHER.findall(inside)
    )
    rest = re.sub(r"\{[^}]*\}", " ", re.sub(_STRING, '""', promql))
    groupings = tuple(
        (word, frozenset(re.findall(r"\w+", labels))) for word, labels in _GROUPING.findall(rest)
    )
    rest = _ASIDE.sub(" ", _GROUPING.sub(" ", rest))
    # What is left of a function is its name before a parenthesis.
    return Expression(frozenset(_NAME.findall(rest)), matchers, groupings)


def _rules() -> Iterator[Rule]:
    for file in RULES:
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            recorded: set[str] = set()
            for said in group["rules"]:
                yield Rule(said.get("alert") or said["record"], file, said, frozenset(recorded))
                recorded |= {said["record"]} if "record" in said else set()


EVERY: Final = tuple(_rules())
ALERTS: Final = tuple(rule for rule in EVERY if "alert" in rule.said)
RECORDED: Final = tuple(rule for rule in EVERY if "record" in rule.said)


@cache
def cases() -> tuple[tuple[Path, dict[str, Any]], ...]:
    """Return every promtool test with its file."""
    return tuple(
        (file, case) for file in CASES for case in yaml.safe_load(file.read_text("utf-8"))["tests"]
    )


def anchors(markdown: str) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in headings}


def sections() -> dict[str, str]:
    """Return what the runbooks say under each heading of an alert."""
    parts = re.split(r"^### (OpenCode\w+)\n", RUNBOOKS.read_text("utf-8"), flags=re.MULTILINE)
    texts = (re.split(r"^## ", text, flags=re.MULTILINE)[0] for text in parts[2::2])
    return dict(zip(parts[1::2], texts, strict=True))


def queries(markdown: str) -> list[str]:
    """Return the queries in a text, one a line of its blocks of PromQL."""
    blocks = re.findall(r"```promql\n(.*?)```", markdown, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]
