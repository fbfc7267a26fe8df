"""
Variables of a dashboard, filled in as Grafana's Prometheus data source does.

`Filling` knows the values and writes them into a text; `resolve` finds the values
by asking a Prometheus, one variable after the other, as their order in the
dashboard is. Nothing here runs a panel's query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from grafana.dashboards import Dashboard, Json, query_of
from harness.processes.prometheus import Prometheus

VARIABLE: Final = re.compile(r"\$([a-zA-Z_]\w*)|\$\{([a-zA-Z_]\w*)(?::(\w+))?\}")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPECIAL: Final = re.compile(r"[$^*{}\[\]'+?.()|]")
_LABEL_VALUES: Final = re.compile(r"label_values\((?:(.+),\s*)?(\w+)\)", re.DOTALL)
_QUERY_RESULT: Final = re.compile(r"query_result\((.+)\)", re.DOTALL)


def names_in(text: str) -> set[str]:
    """Return the variables that a text names."""
    return {one or other for one, other, _ in VARIABLE.findall(text)}


@dataclass(frozen=True)
class Value:
    """
    What a variable stands for.

    Attributes:
        words: The chosen values; one, unless several may be chosen.
        is_pattern: Several may be chosen, so each is escaped for a regular expression.
        raw: Given in place of "all": it is taken as it is.
    """

    words: tuple[str, ...]
    is_pattern: bool = False
    raw: str = ""

    def written(self, form: str) -> str:
        """Return it in a format, the data source's own if none is named."""
        if self.raw:
            return self.raw
        return _FORMATS[form](self)


def _own(value: Value) -> str:
    if not value.is_pattern:
        return value.words[0].replace("\\", "\\\\")
    # The text stands within a PromQL string, which takes one backslash of two.
    words = [_SPECIAL.sub(r"\\\\\g<0>", w.replace("\\", r"\\\\")) for w in value.words]
    return words[0] if len(words) == 1 else f"({'|'.join(words)})"


_FORMATS: Final[Mapping[str, Callable[[Value], str]]] = {
    "": _own,
    "regex": lambda value: "|".join(map(re.escape, value.words)),
    "pipe": lambda value: "|".join(value.words),
    "raw": lambda value: ",".join(value.words),
    "text": lambda value: " + ".join(value.words),
}


@dataclass
class Filling:
    """Values by name."""

    values: dict[str, Value] = field(default_factory=dict)

    def filled(self, text: str) -> str:
        """Return a text with every variable filled in."""

        def written(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            assert name in self.values, f"${name} is no variable here: {text}"
            return self.values[name].written(found[3] or "")

        return VARIABLE.sub(written, text)


@dataclass(frozen=True)
class Times:
    """What a user looks at, in seconds: the range, the step, the time between two scrapes."""

    start: float
    end: float
    step: int
    scrape: int

    def with_step(self, least: str) -> Times:
        """Return it with a step that is at least a duration such as 2m."""
        seconds = int(least[:-1]) * _SECONDS[least[-1]] if least else 0
        return replace(self, step=max(self.step, seconds))

    def values(self) -> dict[str, Value]:
        """Return the variables that Grafana makes of them."""
        width = round(self.end - self.start)
        rate = max(self.step + self.scrape, 4 * self.scrape)
        seconds = {"__interval": self.step, "__rate_interval": rate, "__range": width}
        found = {name: f"{value}s" for name, value in seconds.items()}
        found |= {f"{name}_ms": str(value * 1000) for name, value in seconds.items()}
        found |= {"__range_s": str(width)}
        found |= {"__from": str(round(self.start * 1000)), "__to": str(round(self.end * 1000))}
        return {name: Value((text,)) for name, text in found.items()}


def options(
    variable: Json, dashboard: Dashboard, filling: Filling, prometheus: Prometheus, times: Times
) -> list[str]:
    """Return what a variable offers now."""
    if variable["type"] == "custom":
        return dashboard.custom(variable["name"])
    if variable["type"] in {"constant", "textbox"}:
        return [variable["query"]]
    if variable["type"] == "datasource":
        return ["prometheus"]
    assert variable["type"] == "query", f"{variable['type']} is not filled in here"
    found = _asked(filling.filled(query_of(variable)), prometheus, times)
    if pattern := variable.get("regex"):
        matches = [re.search(pattern.strip("/"), word) for word in found]
        found = [found[1] if found.re.groups else found[0] for found in matches if found]
    found = list(dict.fromkeys(found))
    return sorted(found) if variable.get("sort", 0) in {1, 3, 5, 7} else found


def _asked(query: str, prometheus: Prometheus, times: Times) -> list[str]:
    span = {"start": str(times.start), "end": str(times.end)}
    if found := _LABEL_VALUES.fullmatch(query):
        selector = {"match[]": found[1]} if found[1] else {}
        values: list[str] = prometheus.api(f"label/{found[2]}/values", span | selector)
        return values
    found = _QUERY_RESULT.fullmatch(query)
    assert found, f"not a variable's query: {query}"
    answer = prometheus.api("query", {"query": found[1], "time": span["end"]})
    return [_line(series) for series in answer["result"]]


def _line(series: Json) -> str:
    labels = dict(series["metric"])
    name = labels.pop("__name__", "")
    inner = ",".join(f'{label}="{value}"' for label, value in labels.items())
    moment, value = series["value"]
    return f"{name}{{{inner}}} {value} {moment * 1000:.0f}"


def chosen(variable: Json, offered: list[str]) -> Value:
    """Return what is chosen when a dashboard is opened: all if it may be, else the first."""
    is_pattern = bool(variable.get("multi") or variable.get("includeAll"))
    if not variable.get("includeAll"):
        return Value(tuple(offered[:1]), is_pattern)
    if text := variable.get("allValue"):
        return Value((), is_pattern, raw=text)
    return Value(tuple(offered), is_pattern)


def resolve(
    dashboard: Dashboard, prometheus: Prometheus, times: Times, instance: str
) -> tuple[Filling, dict[str, list[str]]]:
    """Return the values of all variables for an instance, and what each of them offers."""
    filling = Filling(times.values())
    offered = {}
    for variable in dashboard.variables:
        name = variable["name"]
        offered[name] = options(variable, dashboard, filling, prometheus, times)
        filling.values[name] = (
            Value((instance,), is_pattern=bool(variable.get("includeAll")))
            if name == "instance"
            else chosen(variable, offered[name])
        )
    return filling, offered
