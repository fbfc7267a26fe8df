"""The catalogue of the source, and of the exporter itself."""

from __future__ import annotations

from opencode_exporter.catalog.metric import POLL_BUCKETS, Metric

UP = Metric(
    "source",
    "opencode_up",
    "gauge",
    "1 if the last poll of this source succeeded.",
    "opencode.up",
    labels=("source",),
    example="avg_over_time(opencode_up[1d])",
)
SOURCE_INFO = Metric(
    "source",
    "opencode_source_info",
    "gauge",
    "1; storage generation and the newest OpenCode version that wrote a session.",
    "opencode.source.info",
    labels=("source", "generation", "opencode_version"),
    example="count by (generation, opencode_version) (opencode_source_info)",
)
SOURCE_SUPPORTED = Metric(
    "source",
    "opencode_source_supported",
    "gauge",
    "0 if tables or columns that the exporter relies on are not there.",
    "opencode.source.supported",
    labels=("source",),
    example="opencode_source_supported == 0",
)
SOURCE_BYTES = Metric(
    "source",
    "opencode_source_bytes",
    "gauge",
    "Size of the source's files: main, wal.",
    "opencode.source.bytes",
    "By",
    labels=("source", "part"),
    example='delta(opencode_source_bytes{part="main"}[7d])',
)
SOURCE_LAST_EVENT = Metric(
    "source",
    "opencode_source_last_event_timestamp_seconds",
    "gauge",
    "Time of the newest event seen.",
    "opencode.source.last_event.timestamp",
    "s",
    labels=("source",),
    scale=1000,
    merge="max",
    example="time() - opencode_source_last_event_timestamp_seconds",
)

# The exporter itself.

BUILD_INFO = Metric(
    "self",
    "opencode_exporter_build_info",
    "gauge",
    "1; versions of the exporter, of Python and of SQLite.",
    "opencode.exporter.build_info",
    labels=("version", "python", "sqlite"),
    example="count by (version) (opencode_exporter_build_info)",
)
START = Metric(
    "self",
    "opencode_exporter_start_timestamp_seconds",
    "gauge",
    "When this process of the exporter started.",
    "opencode.exporter.start.timestamp",
    "s",
    scale=1000,
    example="changes(opencode_exporter_start_timestamp_seconds[1d])",
)
BASELINE = Metric(
    "self",
    "opencode_exporter_baseline_timestamp_seconds",
    "gauge",
    "When the history had been counted and counting forward began.",
    "opencode.exporter.baseline.timestamp",
    "s",
    scale=1000,
    example="time() - opencode_exporter_baseline_timestamp_seconds",
)
CATCHING_UP = Metric(
    "self",
    "opencode_exporter_catching_up",
    "gauge",
    "1 while invocations, steps and loads come in that ended more than 15 minutes ago.",
    "opencode.exporter.catching_up",
    example="max_over_time(opencode_exporter_catching_up[1h])",
)
POLLS = Metric(
    "self",
    "opencode_exporter_polls_total",
    "counter",
    "Polls of the source by result: ok, error.",
    "opencode.exporter.polls",
    "{poll}",
    labels=("source", "result"),
    example=(
        'sum by (source) (rate(opencode_exporter_polls_total{result="error"}[15m])) / sum by '
        "(source) (rate(opencode_exporter_polls_total[15m]))"
    ),
)
POLL_DURATION = Metric(
    "self",
    "opencode_exporter_poll_duration_seconds",
    "histogram",
    "Duration of polls.",
    "opencode.exporter.poll.duration",
    "s",
    labels=("source",),
    buckets=POLL_BUCKETS,
    scale=1_000_000,
    example=(
        "rate(opencode_exporter_poll_duration_seconds_sum[5m]) / "
        "rate(opencode_exporter_poll_duration_seconds_count[5m])"
    ),
)
LAST_POLL = Metric(
    "self",
    "opencode_exporter_last_successful_poll_timestamp_seconds",
    "gauge",
    "When the source was last polled with success (or found unchanged).",
    "opencode.exporter.last_successful_poll.timestamp",
    "s",
    labels=("source",),
    scale=1000,
    example="time() - opencode_exporter_last_successful_poll_timestamp_seconds",
)
ROWS_READ = Metric(
    "self",
    "opencode_exporter_rows_read_total",
    "counter",
    "Rows read and decoded; those that cannot hold an invocation stay in SQLite.",
    "opencode.exporter.rows_read",
    "{row}",
    labels=("source", "table"),
    example="sum by (source, table) (rate(opencode_exporter_rows_read_total[1h]))",
)
ROWS_REJECTED = Metric(
    "self",
    "opencode_exporter_rows_rejected_total",
    "counter",
    "Rows that could not be decoded: set aside, counted, never fatal.",
    "opencode.exporter.rows_rejected",
    "{row}",
    labels=("source", "table", "cause"),
    example=(
        "sum by (source, table, cause) (increase(opencode_exporter_rows_rejected_total[1d])) > 0"
    ),
)
COPIES_SKIPPED = Metric(
    "self",
    "opencode_exporter_copies_skipped_total",
    "counter",
    "Events that were copies of counted ones, by cause: fork, upgrade.",
    "opencode.exporter.copies_skipped",
    "{event}",
    labels=("cause",),
    example="sum by (cause) (opencode_exporter_copies_skipped_total)",
)
LATE_ENDS = Metric(
    "self",
    "opencode_exporter_late_ends_total",
    "counter",
    "Invocations that ended after they had been counted as abandoned.",
    "opencode.exporter.late_ends",
    "{invocation}",
    labels=("status",),
    example="sum by (status) (increase(opencode_exporter_late_ends_total[7d]))",
)
LABEL_OVERFLOW = Metric(
    "self",
    "opencode_exporter_label_overflow_total",
    "counter",
    "Observations whose labels went to _other because a limit was reached.",
    "opencode.exporter.label_overflow",
    "{observation}",
    labels=("metric",),
    example="sum by (metric) (increase(opencode_exporter_label_overflow_total[1d])) > 0",
)
HISTORY_PROGRESS = Metric(
    "self",
    "opencode_exporter_history_progress_ratio",
    "gauge",
    "How much of the source's history has been read, 0 to 1.",
    "opencode.exporter.history_progress",
    "1",
    labels=("source",),
    scale=10_000,
    example="min by (source) (opencode_exporter_history_progress_ratio)",
)
LEDGER_BYTES = Metric(
    "self",
    "opencode_exporter_ledger_bytes",
    "gauge",
    "Size of the ledger's files.",
    "opencode.exporter.ledger.bytes",
    "By",
    example="predict_linear(opencode_exporter_ledger_bytes[7d], 365 * 86400)",
)
UNATTRIBUTED = Metric(
    "self",
    "opencode_exporter_unattributed_total",
    "counter",
    "Turns of sub-agents whose starting invocation was not found.",
    "opencode.exporter.unattributed",
    "{turn}",
    example="increase(opencode_exporter_unattributed_total[1d])",
)
OTLP_EXPORTS = Metric(
    "self",
    "opencode_exporter_otlp_exports_total",
    "counter",
    "Pushes over OTLP by result: ok, error; only where it pushes.",
    "opencode.exporter.otlp_exports",
    "{export}",
    labels=("result",),
    example='increase(opencode_exporter_otlp_exports_total{result="error"}[1h]) > 0',
)
OTLP_SPANS = Metric(
    "self",
    "opencode_exporter_otlp_spans_total",
    "counter",
    "Spans by result: ok, error, dropped (too many waited); only with --otlp.traces.",
    "opencode.exporter.otlp_spans",
    "{span}",
    labels=("result",),
    example='increase(opencode_exporter_otlp_spans_total{result!="ok"}[1h]) > 0',
)
