"""The reference of metrics is the catalogue's, explains every label, and its queries work."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from documents import reference
from harness.exporters import Exposed
from harness.processes.prometheus import Prometheus
from harness.processes.served import Served
from harness.recordings import unpack
from harness.skill_files import put
from harness.waiting import wait_for
from opencode_exporter import decode, events, source
from opencode_exporter.catalog import METRICS, ON_PAGE, Metric, vocabulary
from opencode_exporter.catalog.labels import LABELS, TABLES
from opencode_exporter.catalog.vocabulary import Scope
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.ledger.batch.intake import _CAUSES
from opencode_exporter.source.opencode.schema import COLUMNS

each = pytest.mark.parametrize("metric", ON_PAGE, ids=[metric.name for metric in ON_PAGE])
SOURCES = ("1.18.33", "2.0.15", "turns-1.18.33", "turns-2.0.15")

SILENT = {
    "opencode_tool_in_flight_oldest_start_timestamp_seconds": "asks for what runs too long",
    "opencode_file_hot_edits": "it is off unless asked for",
    "opencode_edit_abandoned_changes_total": "in no recording does a turn give up on a file",
    "opencode_model_retries_total": "no recording has a repeated request",
    "opencode_source_supported": "asks for what is wrong",
    "opencode_exporter_rows_rejected_total": "asks for what is wrong",
    "opencode_exporter_label_overflow_total": "asks for what is wrong",
    "opencode_exporter_otlp_exports_total": "nothing is pushed",
    "opencode_exporter_otlp_spans_total": "no spans are sent",
}
"""Metrics whose example has no answer over recordings, and why."""
CAUSE_AT = {"Unusable": 0, "Rejection": 1, "name_of": 1, "OddPart": 0}
"""The argument that is the word for which a row is set aside, by what is called with it."""


def names_in(query: str) -> set[str]:
    """Return the metrics of ours that a query names, histograms without their suffixes."""
    histograms = {metric.name for metric in ON_PAGE if metric.kind == "histogram"}
    found, labels = set(), {label for metric in ON_PAGE for label in metric.labels}
    for name in re.findall(r"\bopencode_\w+", query):
        if name in labels:
            continue
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(base if base in histograms else name)
    return found


# What it says.


def test_what_is_not_on_the_page_has_a_part_of_its_own() -> None:
    """A metric for OTLP alone stands apart, under the convention's names."""
    page, _, elsewhere = reference.reference().partition("## Over OTLP only")
    for metric in set(METRICS) - set(ON_PAGE):
        assert f"`{metric.otlp}`" not in page
        assert f"### `{metric.otlp}`" in elsewhere
        assert all(f"`{name}` (" in elsewhere for name in metric.attributes)
        grouped = re.findall(r"by \(([^)]*)\)", metric.example)
        known = {name.replace(".", "_") for name in metric.attributes} | {"le"}
        assert {name.strip() for names in grouped for name in names.split(",")} <= known


def test_every_label_is_explained_and_no_other() -> None:
    """Each label of each metric has a meaning and values, and nothing else is explained."""
    assert set(LABELS) == {label for metric in METRICS for label in metric.labels}
    for label in LABELS.values():
        assert label.meaning
        assert bool(label.values) != bool(label.open_values)


def exits() -> list[str]:
    """Return every class of a shell call's end, as the code tells them apart."""
    ended = ((0, ""), (1, ""), (None, "exceeded timeout"), (None, ""))
    known = [verdicts.shell_exit(code, text, ended=True) for code, text in ended]
    return [*known, verdicts.shell_exit(None, "", ended=False)]


def causes() -> set[str]:
    """Return every word for which a copy is skipped or a row set aside, as the code has them."""
    found = set(_CAUSES.values())
    for stage in (decode, source):
        for path in Path(*stage.__path__).rglob("*.py"):
            found.update(causes_in(ast.parse(path.read_text("utf-8"))))
    return found


def causes_in(module: ast.Module) -> Iterator[str]:
    """Yield the words for which a module sets rows aside, where it writes them out."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in CAUSE_AT:
            at = CAUSE_AT[name]
            given = [*node.args[at : at + 1], *(word.value for word in node.keywords)]
            yield from (str(one.value) for one in given if isinstance(one, ast.Constant))


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("cause", causes()),
        ("status", events.STATUSES),
        ("reason", vocabulary.REASONS),
        ("exit", exits()),
        ("outcome", events.OUTCOMES),
        ("trigger", (events.MODEL, events.USER)),
        ("category", {*vocabulary.CATEGORIES.values(), "mcp"}),
        ("scope", get_args(Scope)),
    ],
)
def test_values_of_a_label_are_those_of_the_code(label: str, values: tuple[str, ...]) -> None:
    """What is explained of a fixed set is that set."""
    assert set(LABELS[label].values) == set(values)


def test_tables_are_those_that_are_read() -> None:
    """The label ``table`` names those that the reader relies on."""
    assert set(TABLES) == set(COLUMNS)


# The examples.


@each
def test_every_metric_has_an_example_that_asks_for_it(metric: Metric) -> None:
    """The example names the metric, no name that does not exist, and is set readably."""
    assert metric.name in names_in(metric.example)
    assert names_in(metric.example) <= {other.name for other in ON_PAGE}
    assert max(map(len, reference.broken(metric.example).splitlines())) <= 110


@each
def test_example_asks_for_labels_that_exist(metric: Metric) -> None:
    """What an example selects or groups by is a label of its metrics, selected by its values."""
    known = [other for other in ON_PAGE if other.name in names_in(metric.example)]
    labels = {label for other in known for label in other.labels} | {"le", "instance"}
    grouped = re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", metric.example)
    assert {word for group in grouped for word in re.findall(r"\w+", group)} <= labels
    for label, wanted in re.findall(r'(\w+)=~?"([^"]*)"', metric.example):
        assert label in labels
        assert not LABELS[label].values or set(wanted.split("|")) <= set(LABELS[label].values)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Exposed]]:
    """A Prometheus that has scraped the real exporter twice, over recordings of 1.x and 2.x."""
    directory = tmp_path_factory.mktemp("reference")
    put(directory / ".config" / "opencode" / "skills" / "unused", "unused")
    first, *others = [unpack(name, directory / name) for name in SOURCES]
    more = [word for source in others for word in ("--source.path", str(source))]
    with Served(first, directory / "exporter", *more, home=directory) as served:
        wait_for(served.is_ready)
        with Prometheus(served.target, directory / "prometheus") as prometheus:
            prometheus.scraped(0, times=3)
            yield prometheus, served.page()


@pytest.mark.real
@each
def test_example_is_answered_by_prometheus(
    metric: Metric, answers: tuple[Prometheus, Exposed]
) -> None:
    """A real Prometheus evaluates each example, and has an answer where there is one."""
    prometheus, _ = answers
    found = prometheus.query(metric.example)
    assert found or metric.name in SILENT
