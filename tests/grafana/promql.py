"""
What a PromQL expression names: metrics, labels, matchers, ranges.

It reads expressions as they stand in dashboards and rules, variables of Grafana
included. It does not judge them: Prometheus says what is valid, the catalogue
what exists (`declared`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

from opencode_exporter.catalog import ON_PAGE, Metric

_ON_PAGE: Final = {metric.name: metric for metric in ON_PAGE}
_TOKEN: Final = re.compile(
    r"""
      (?P<space>   \s+ | \#[^\n]* )
    | (?P<string>  "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` )
    | (?P<range>   \[[^\]]*\] )
    | (?P<grafana> \$\w+ | \$\{[^}]*\} )
    | (?P<number>  [0-9][0-9a-zA-Z_.]* | \.[0-9]+ )
    | (?P<name>    [a-zA-Z_:][\w:]* )
    | (?P<sign>    =~ | !~ | != | == | >= | <= | [-+*/%^<>=(){},@] )
    """,
    re.VERBOSE,
)
_GROUPING: Final = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS: Final = {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"}
_SUFFIXES: Final = ("_bucket", "_sum", "_count")


class Matcher(NamedTuple):
    """One condition of a selector, its value without the quotes."""

    label: str
    operator: str
    value: str


class Selector(NamedTuple):
    """
    One place where series are asked for.

    Attributes:
        metric: As it is written, empty where only conditions stand.
        matchers: The conditions between the braces.
        range: The text between the brackets that follow, empty for an instant.
        calls: The functions and aggregations around it, the innermost last.
    """

    metric: str
    matchers: tuple[Matcher, ...]
    range: str
    calls: tuple[str, ...]

    def matching(self, label: str) -> list[Matcher]:
        """Return the conditions on a label."""
        return [matcher for matcher in self.matchers if matcher.label == label]


@dataclass
class Expression:
    """
    What an expression names.

    Attributes:
        selectors: In the order in which they stand.
        grouped: The labels of `by`, `on` and their like, and those that are copied.
        made: The labels that `label_replace` and its like make.
        calls: The functions and aggregations that are called.
    """

    selectors: list[Selector] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found or not found.lastgroup:
            raise ValueError(f"not PromQL at {text[position : position + 20]!r} of {text!r}")
        position = found.end()
        if found.lastgroup != "space":
            yield _Token(found.lastgroup, found[0])


class _Reader:
    """Goes through the tokens once, and knows which calls are open."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._open: list[tuple[str, list[str]]] = []
        self.found = Expression()

    def read(self) -> Expression:
        while self._at < len(self._tokens):
            token = self._next()
            if token.kind == "name":
                self._name(token.text)
            elif token.kind == "grafana" and self._follows("("):
                self._at += 1
                self._call(token.text)
            elif token.text == "{":
                self._at -= 1
                self._selector("")
            elif token.text == "(":
                self._open.append(("", []))
            elif token.text == ")":
                self._close(*self._open.pop())
            elif token.kind == "string" and self._open:
                self._open[-1][1].append(token.text[1:-1])
        return self.found

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _follows(self, *texts: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at].text in texts

    def _name(self, name: str) -> None:
        if name in _GROUPING:
            self.found.grouped.update(self._labels())
        elif self._follows("("):
            self._at += 1
            self._call(name)
        elif self._follows("by", "without"):
            self._at += 1
            self.found.grouped.update(self._labels())
            self._at += 1  # the bracket of the aggregation
            self._call(name)
        elif name.lower() not in _WORDS:
            self._selector(name)

    def _call(self, name: str) -> None:
        self.found.calls.add(name)
        self._open.append((name, []))

    def _labels(self) -> list[str]:
        labels: list[str] = []
        if self._follows("("):
            while (token := self._next()).text != ")":
                labels += [token.text] if token.kind == "name" else []
        return labels

    def _selector(self, metric: str) -> None:
        matchers = tuple(self._matchers()) if self._follows("{") else ()
        following = self._tokens[self._at] if self._at < len(self._tokens) else None
        window = following.text[1:-1] if following and following.kind == "range" else ""
        calls = tuple(name for name, _ in self._open if name)
        self.found.selectors.append(Selector(metric, matchers, window, calls))

    def _matchers(self) -> Iterator[Matcher]:
        self._at += 1
        while (token := self._next()).text != "}":
            if token.text != ",":
                operator, value = self._next(), self._next()
                yield Matcher(token.text, operator.text, value.text[1:-1])

    def _close(self, call: str, strings: list[str]) -> None:
        if call == "label_replace":
            self.found.made.add(strings[0])
            self.found.grouped.add(strings[2])
        elif call == "label_join":
            self.found.made.add(strings[0])
            self.found.grouped.update(strings[2:])
        elif call == "count_values":
            self.found.made.add(strings[0])
        elif call in {"sort_by_label", "sort_by_label_desc"}:
            self.found.grouped.update(strings)


@cache
def parsed(text: str) -> Expression:
    """Return what an expression names."""
    return _Reader(text).read()


def metrics_of(text: str) -> set[str]:
    """Return the series that an expression asks for by name, as they are written."""
    return {selector.metric for selector in parsed(text).selectors if selector.metric}


def matchers_of(text: str) -> set[Matcher]:
    """Return every condition of every selector."""
    return {matcher for selector in parsed(text).selectors for matcher in selector.matchers}


def labels_of(text: str) -> set[str]:
    """Return the labels that an expression uses, without those that it makes itself."""
    expression = parsed(text)
    used = {matcher.label for matcher in matchers_of(text)} | expression.grouped
    return used - expression.made - {""}  # label_replace may replace nothing: then it only adds


def declared(series: str) -> Metric | None:
    """Return the metric on the page that a series belongs to, also `x_bucket` and its like."""
    if metric := _ON_PAGE.get(series):
        return metric
    for suffix in _SUFFIXES:
        metric = _ON_PAGE.get(series.removesuffix(suffix)) if series.endswith(suffix) else None
        if metric and metric.kind == "histogram":
            return metric
    return None
