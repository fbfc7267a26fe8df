"""
The reference of all metrics, the generated part of `exporter/METRICS.md`.

It is made of the catalogue, and what labels mean comes from `catalog.labels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from documents.tables import table
from opencode_exporter.catalog import METRICS, ON_PAGE, Metric
from opencode_exporter.catalog.labels import LABELS

TITLES: Final = {
    "skills": "Skills",
    "tools": "Tools",
    "edits": "Edits and files",
    "sessions": "Sessions, turns and models",
    "source": "The source",
    "self": "The exporter itself",
}
"""Headings by group of the catalogue."""
_UNITS: Final = {"s": "seconds", "By": "bytes", "1": "a ratio", "{USD}": "US dollars", "": "none"}
_LONG: Final = 90  # characters of a query's line
_BREAKS: Final = (" / ", " unless ", " * ")

_ELSEWHERE: Final = "Over OTLP only"
_ELSEWHERE_HEAD: Final = """\
In the words of a convention, beside the metrics above and from the same data. They are not on \
the page that Prometheus scrapes. An attribute without a value is left out. The queries are for \
a Prometheus that receives them over OTLP.
"""


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-").replace(",", "")


def _number(edge: float) -> str:
    return f"{edge:.10g}"


def _unit(metric: Metric) -> str:
    return _UNITS.get(metric.otlp_unit) or f"{metric.otlp_unit.strip('{}')}s".replace("ys", "ies")


def broken(query: str) -> str:
    """Return a query over several lines where one would be too long."""
    if len(query) > _LONG:
        for operator in _BREAKS:
            query = query.replace(operator, f"\n  {operator.lstrip()}")
    return query


def _facts(metric: Metric) -> Iterator[str]:
    yield f"- Type: {metric.kind}"
    yield f"- Unit: {_unit(metric)}"
    labels = [f"[`{label}`](#{label})" for label in metric.labels]
    if metric.only_otlp:
        pairs = zip(metric.attributes, labels, strict=True)
        yield "- Attributes: " + ", ".join(f"`{name}` ({label})" for name, label in pairs)
    else:
        yield f"- Labels: {', '.join(labels) or 'none'}"
    if metric.buckets:
        yield f"- Buckets: {', '.join(map(_number, metric.buckets))}"
    unit = f"`{metric.otlp_unit}`" if metric.otlp_unit else "none"
    yield f"- OTLP: `{metric.otlp}`, unit {unit}"


def section(metric: Metric) -> str:
    """Return what the reference says of one metric."""
    facts = "\n".join(_facts(metric))
    query = f"```promql\n{broken(metric.example)}\n```"
    name = metric.otlp if metric.only_otlp else metric.name
    return f"### `{name}`\n\n{metric.help}\n\n{facts}\n\n{query}\n"


def _labels() -> str:
    rows = []
    for name, label in sorted(LABELS.items()):
        values = [f"`{value}`: {meaning}" for value, meaning in label.values.items()]
        values += [label.open_values] if label.open_values else []
        rows.append([f'<a id="{name}"></a>`{name}`', label.meaning, "<br>".join(values)])
    return (
        "## Labels\n\nWhere the source decides on a label's values, there are at most 100 of "
        "`tool` and of `skill`, and 50 of any other, `_unknown` and `_other` included. "
        "`_unknown`: the source did not say, or the model named something that does not exist. "
        "`_other`: a limit was reached, or no list knows it.\n\n"
        + table(["label", "meaning", "values"], rows)
        + "\n"
    )


def contents() -> str:
    """Return the headings of the page, as links."""
    titles = ("Questions", *TITLES.values(), _ELSEWHERE, "Labels")
    return "\n".join(f"- [{title}](#{_anchor(title)})" for title in titles)


def reference() -> str:
    """Return every metric, group by group, and every label."""
    parts = []
    for group, title in TITLES.items():
        parts.append(f"## {title}\n")
        parts += [section(metric) for metric in ON_PAGE if metric.group == group]
    parts += [f"## {_ELSEWHERE}\n", _ELSEWHERE_HEAD]
    parts += [section(metric) for metric in METRICS if metric.only_otlp]
    return "\n".join([*parts, _labels()]).strip()
