"""The catalogue keeps the rules of names, of both routes, and of what is shown."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from harness.clock import HOUR_MS, FakeClock
from harness.exporters import Bench
from harness.otlp.published_rules import translated
from harness.places import RECORDINGS
from harness.recordings import truth, unpack
from opencode_exporter import catalog
from opencode_exporter.catalog import BY_NAME, METRICS, ON_PAGE, Metric
from opencode_exporter.counting.labels import OPEN_LABELS, limit_of

each = pytest.mark.parametrize("metric", METRICS, ids=[metric.name for metric in METRICS])
each_on_page = pytest.mark.parametrize("metric", ON_PAGE, ids=[metric.name for metric in ON_PAGE])

FIXED_LABELS = {
    *("status", "reason", "trigger", "scope", "category", "exit", "outcome"),
    *("change", "operation", "language", "session_kind", "role", "mode"),
    *("token_type", "todo_status"),
    *("source", "generation", "opencode_version", "part", "result", "table", "cause"),
    *("metric", "server", "version", "python", "sqlite"),
}
"""Labels whose values are a fixed set, or as many as there are files, servers or metrics."""

SPECIFIED = """
skill_invocations_total skill_usage_total skill_duration_seconds skill_errors_total
skill_sessions_total skill_reloads_total skill_content_bytes_total
skill_first_used_timestamp_seconds skill_last_used_timestamp_seconds skill_installed
skill_transitions_total skill_next_tool_total skill_runs_total skill_run_duration_seconds
skill_run_tool_invocations_total skill_run_retries_total skill_run_tokens_total
skill_run_cost_usd_total
tool_invocations_total tool_usage_total tool_duration_seconds tool_wait_seconds tool_errors_total
tool_in_flight tool_in_flight_oldest_start_timestamp_seconds tool_retries_total
tool_output_bytes_total tool_output_truncated_total tool_info shell_exits_total
edit_attempts_total edit_attempts_per_change edit_abandoned_changes_total edit_lines_total
file_operations_total file_hot_edits
sessions_total sessions_active session_tool_invocations turns_total turn_duration_seconds
messages_total session_errors_total session_compactions_total steps_total step_duration_seconds
model_response_seconds model_retries_total tokens_total cost_usd_total todos
up source_info source_supported source_bytes source_last_event_timestamp_seconds
exporter_build_info exporter_start_timestamp_seconds exporter_baseline_timestamp_seconds
exporter_catching_up exporter_polls_total
exporter_poll_duration_seconds exporter_last_successful_poll_timestamp_seconds
exporter_rows_read_total exporter_rows_rejected_total exporter_copies_skipped_total
exporter_late_ends_total exporter_unattributed_total exporter_label_overflow_total
exporter_history_progress_ratio exporter_ledger_bytes exporter_otlp_exports_total
exporter_otlp_spans_total
"""
"""Names that dashboards and rules rely on: none is renamed or dropped."""

NOT_RECORDED = {
    "opencode_exporter_rows_rejected_total": "real OpenCode writes no row that cannot be decoded",
    "opencode_exporter_label_overflow_total": "no recording has a hundred tools",
    "opencode_model_retries_total": "no recording has a repeated request",
    "opencode_file_hot_edits": "it is off unless asked for, as it shows paths",
    "opencode_exporter_otlp_exports_total": "nothing is pushed",
    "opencode_exporter_otlp_spans_total": "no spans are sent",
}
"""Metrics that no recording shows, and why."""


def test_every_promised_metric_is_there() -> None:
    """No name that users rely on is missing."""
    assert {f"opencode_{name}" for name in SPECIFIED.split()} <= set(BY_NAME)


def test_no_name_is_declared_twice() -> None:
    """Neither of a metric's two names belongs to another metric as well."""
    assert Counter(m.name for m in METRICS).most_common(1)[0][1] == 1
    assert Counter(m.otlp for m in METRICS).most_common(1)[0][1] == 1
    # No family is another's sample: x_count beside a histogram x would be.
    made = {f"{m.name}_{end}" for m in METRICS for end in ("bucket", "sum", "count", "created")}
    assert not made & set(BY_NAME)


@each_on_page
def test_name_follows_the_rules(metric: Metric) -> None:
    """Prefix by group, ``_total`` on counters only, base units only."""
    assert re.fullmatch(r"opencode_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.startswith("opencode_exporter_") == (metric.group == "self")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    words = set(metric.name.split("_"))
    assert not words & {"ms", "milliseconds", "minutes", "kb", "kilobytes", "percent", "count"}
    if "timestamp" in words:
        assert metric.name.endswith("_timestamp_seconds")
        assert metric.kind == "gauge"
    if metric.name.endswith("_info"):
        assert (metric.kind, metric.otlp_unit) == ("gauge", "")


@each
def test_name_is_the_same_by_both_routes(metric: Metric) -> None:
    """A collector's translation of the OTLP name gives the Prometheus name."""
    assert translated(metric.otlp, metric.otlp_unit, metric.kind) == metric.name


@each_on_page
def test_attributes_are_the_labels(metric: Metric) -> None:
    """By both routes a value is found under the same name."""
    assert metric.attributes == metric.labels


def test_metrics_for_otlp_alone_are_those_of_a_convention() -> None:
    """What is not on the page has the names, unit and edges that the GenAI convention gives."""
    (metric,) = set(METRICS) - set(ON_PAGE)
    assert (metric.otlp, metric.otlp_unit) == ("gen_ai.execute_tool.duration", "s")
    of_labels = dict(zip(metric.attributes, metric.labels, strict=True))
    assert of_labels == {
        "gen_ai.tool.name": "tool",
        "gen_ai.agent.name": "agent",
        "error.type": "reason",
    }
    assert metric.buckets == tuple(0.01 * 2**i for i in range(14))
    # As long as one bucket lies in another, counts of the finer make those of the coarser.
    assert metric.buckets == catalog.DURATION_BUCKETS[: len(metric.buckets)]


@each_on_page
def test_otlp_name_and_unit_are_well_formed(metric: Metric) -> None:
    """Dotted lower case; a unit is seconds, bytes, a ratio, an annotation, or none."""
    assert re.fullmatch(r"opencode(\.[a-z]+(_[a-z]+)*)+", metric.otlp)
    assert re.fullmatch(r"s|By|1|\{([a-z]+|USD)\}|", metric.otlp_unit)
    if metric.kind == "counter":
        assert metric.otlp_unit


@each
def test_help_is_a_sentence(metric: Metric) -> None:
    """Help is one line that ends with a period."""
    assert re.fullmatch(r"[A-Z0-9][^\n]*[^.\s]\.", metric.help)


@each
def test_labels_are_bounded(metric: Metric) -> None:
    """Every label has a fixed set of values or a limit, and none is named by the text format."""
    assert len(set(metric.labels)) == len(metric.labels)
    for label in metric.labels:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", label)
        assert label not in {"le", "quantile", "job", "instance"}
        assert (label in FIXED_LABELS) != (label in OPEN_LABELS)
        assert limit_of(label) <= (100 if label in ("tool", "skill") else 50)


@each
def test_histograms_alone_have_buckets(metric: Metric) -> None:
    """Buckets rise, and a histogram measures seconds unless its unit says what it counts."""
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    if metric.kind == "histogram":
        counts = metric.otlp_unit in ("{attempt}", "{invocation}")
        assert metric.name.endswith("_seconds") != counts
        # Sums are kept as whole numbers: each edge must be one.
        for edge in metric.buckets:
            assert round(edge * metric.scale) == pytest.approx(edge * metric.scale)


def test_duration_buckets_are_the_promised_ones() -> None:
    """0.01 s doubling to 2621.44 s: dashboards and stored series rely on the edges."""
    edges = catalog.DURATION_BUCKETS
    assert (edges[0], edges[13], edges[-1], len(edges)) == (0.01, 81.92, 2621.44, 19)


def test_breakdowns_carry_the_labels_of_their_totals() -> None:
    """A usage metric has its total's labels and more, so that sums can agree."""
    for total in METRICS:
        usage = BY_NAME.get(total.name.replace("_invocations_total", "_usage_total"))
        if usage is not None and usage is not total:
            assert set(total.labels) == {total.labels[0], "status"}
            assert set(total.labels) < set(usage.labels)


@pytest.fixture(scope="module")
def recorded_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The metrics that stand on the pages of all recordings, read into ledgers on disk."""
    names: set[str] = set()
    for found in sorted(RECORDINGS.glob("*/truth.json")):
        name = found.parent.name
        directory: Path = tmp_path_factory.mktemp(name)
        unpack(name, directory)
        clock = FakeClock(truth(name)["recorded_at_ms"] + 2 * HOUR_MS)
        page = Bench(directory, clock).read_once().page
        names |= set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    return names


@each_on_page
def test_metric_is_on_the_page_of_a_recording(metric: Metric, recorded_names: set[str]) -> None:
    """Each metric is shown for some real database, or there is a reason why it is not."""
    assert (metric.name in recorded_names) != (metric.name in NOT_RECORDED)


def test_no_metric_for_otlp_alone_is_on_a_page(recorded_names: set[str]) -> None:
    """What only OTLP carries is never scraped, though the ledger has it."""
    assert not recorded_names & {metric.name for metric in METRICS if metric.only_otlp}
