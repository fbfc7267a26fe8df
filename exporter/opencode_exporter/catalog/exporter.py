"""The catalogue of the source, and of the exporter itself."""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog.metric import POLL_BUCKETS, Metric

BUILD_INFO = Metric(
    group="self",
    name="opencode_exporter_build_info",
    kind="gauge",
    help="1; versions of the exporter, of Python and of SQLite.",
    otlp="opencode.exporter.build_info",
    labels=("version", "python", "sqlite"),
    example="count by (version) (opencode_exporter_build_info)",
)
START = Metric(
    group="self",
    name="opencode_exporter_start_timestamp_seconds",
    kind="gauge",
    help="When this process of the exporter started.",
    otlp="opencode.exporter.start.timestamp",
    otlp_unit="s",
    scale=1000,
    example="changes(opencode_exporter_start_timestamp_seconds[1d])",
)
BASELINE = Metric(
    group="self",
    name="opencode_exporter_baseline_timestamp_seconds",
    kind="gauge",
    help="When the history had been counted and counting forward began.",
    otlp="opencode.exporter.baseline.timestamp",
    otlp_unit="s",
    scale=1000,
    example="time() - opencode_exporter_baseline_timestamp_seconds",
)
CATCHING_UP = Metric(
    group="self",
    name="opencode_exporter_catching_up",
    kind="gauge",
    help="1 while invocations, steps and loads come in that ended more than 15 minutes ago.",
    otlp="opencode.exporter.catching_up",
    example="max_over_time(opencode_exporter_catching_up[1h])",
)
POLLS = Metric(
    group="self",
    name="opencode_exporter_polls_total",
    kind="counter",
    help="Polls of the source by result: ok, error.",
    otlp="opencode.exporter.polls",
    otlp_unit="{poll}",
    labels=("source", "result"),
    example=(
        'sum by (source) (rate(opencode_exporter_polls_total{result="error"}[15m])) / sum by '
        "(source) (rate(opencode_exporter_polls_total[15m]))"
    ),
)
POLL_DURATION = Metric(
    group="self",
    name="opencode_exporter_poll_duration_seconds",
    kind="histogram",
    help="Duration of polls.",
    otlp="opencode.exporter.poll.duration",
    otlp_unit="s",
    labels=("source",),
    buckets=POLL_BUCKETS,
    scale=1_000_000,
    example=(
        "rate(opencode_exporter_poll_duration_seconds_sum[5m]) / "
        "rate(opencode_exporter_poll_duration_seconds_count[5m])"
    ),
)
LAST_POLL = Metric(
    group="self",
    name="opencode_exporter_last_successful_poll_timestamp_seconds",
    kind="gauge",
    help="When the source was last polled with success (or found unchanged).",
    otlp="opencode.exporter.last_successful_poll.timestamp",
    otlp_unit="s",
    labels=("source",),
    scale=1000,
    example="time() - opencode_exporter_last_successful_poll_timestamp_seconds",
)
ROWS_READ = Metric(
    group="self",
    name="opencode_exporter_rows_read_total",
    kind="counter",
    help="Rows read and decoded; those that cannot hold an invocation stay in SQLite.",
    otlp="opencode.exporter.rows_read",
    otlp_unit="{row}",
    labels=("source", "table"),
    example="sum by (source, table) (rate(opencode_exporter_rows_read_total[1h]))",
)
ROWS_REJECTED = Metric(
    group="self",
    name="opencode_exporter_rows_rejected_total",
    kind="counter",
    help="Rows that could not be decoded: set aside, counted, never fatal.",
    otlp="opencode.exporter.rows_rejected",
    otlp_unit="{row}",
    labels=("source", "table", "cause"),
    example=(
        "sum by (source, table, cause) (increase(opencode_exporter_rows_rejected_total[1d])) > 0"
    ),
)
COPIES_SKIPPED = Metric(
    group="self",
    name="opencode_exporter_copies_skipped_total",
    kind="counter",
    help="Events that were copies of counted ones, by cause: fork, upgrade.",
    otlp="opencode.exporter.copies_skipped",
    otlp_unit="{event}",
    labels=("cause",),
    example="sum by (cause) (opencode_exporter_copies_skipped_total)",
)
LATE_ENDS = Metric(
    group="self",
    name="opencode_exporter_late_ends_total",
    kind="counter",
    help="Invocations that ended after they had been counted as abandoned.",
    otlp="opencode.exporter.late_ends",
    otlp_unit="{invocation}",
    labels=("status",),
    example="sum by (status) (increase(opencode_exporter_late_ends_total[7d]))",
)
LABEL_OVERFLOW = Metric(
    group="self",
    name="opencode_exporter_label_overflow_total",
    kind="counter",
    help="Observations whose labels went to _other because a limit was reached.",
    otlp="opencode.exporter.label_overflow",
    otlp_unit="{observation}",
    labels=("metric",),
    example="sum by (metric) (increase(opencode_exporter_label_overflow_total[1d])) > 0",
)
HISTORY_PROGRESS = Metric(
    group="self",
    name="opencode_exporter_history_progress_ratio",
    kind="gauge",
    help="How much of the source's history has been read, 0 to 1.",
    otlp="opencode.exporter.history_progress",
    otlp_unit="1",
    labels=("source",),
    scale=10_000,
    example="min by (source) (opencode_exporter_history_progress_ratio)",
)
LEDGER_BYTES = Metric(
    group="self",
    name="opencode_exporter_ledger_bytes",
    kind="gauge",
    help="Size of the ledger's files.",
    otlp="opencode.exporter.ledger.bytes",
    otlp_unit="By",
    example="predict_linear(opencode_exporter_ledger_bytes[7d], 365 * 86400)",
)
UNATTRIBUTED = Metric(
    group="self",
    name="opencode_exporter_unattributed_total",
    kind="counter",
    help="Turns of sub-agents whose starting invocation was not found.",
    otlp="opencode.exporter.unattributed",
    otlp_unit="{turn}",
    example="increase(opencode_exporter_unattributed_total[1d])",
)
OTLP_EXPORTS = Metric(
    group="self",
    name="opencode_exporter_otlp_exports_total",
    kind="counter",
    help="Pushes over OTLP by result: ok, error; only where it pushes.",
    otlp="opencode.exporter.otlp_exports",
    otlp_unit="{export}",
    labels=("result",),
    example='increase(opencode_exporter_otlp_exports_total{result="error"}[1h]) > 0',
)
OTLP_SPANS = Metric(
    group="self",
    name="opencode_exporter_otlp_spans_total",
    kind="counter",
    help="Spans by result: ok, error, dropped (too many waited); only with --otlp.traces.",
    otlp="opencode.exporter.otlp_spans",
    otlp_unit="{span}",
    labels=("result",),
    example='increase(opencode_exporter_otlp_spans_total{result!="ok"}[1h]) > 0',
)

METRICS: Final = (
    BUILD_INFO,
    START,
    BASELINE,
    CATCHING_UP,
    POLLS,
    POLL_DURATION,
    LAST_POLL,
    ROWS_READ,
    ROWS_REJECTED,
    COPIES_SKIPPED,
    LATE_ENDS,
    LABEL_OVERFLOW,
    HISTORY_PROGRESS,
    LEDGER_BYTES,
    UNATTRIBUTED,
    OTLP_EXPORTS,
    OTLP_SPANS,
)
