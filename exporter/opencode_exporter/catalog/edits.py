"""The catalogue of edits and files."""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog.metric import ATTEMPT_BUCKETS, Metric

EDIT_ATTEMPTS = Metric(
    group="edits",
    name="opencode_edit_attempts_total",
    kind="counter",
    help="Invocations of the tools that edit files, by model.",
    otlp="opencode.edit.attempts",
    otlp_unit="{invocation}",
    labels=("tool", "provider", "model", "status"),
    example=(
        'sum by (tool, model) (increase(opencode_edit_attempts_total{status="completed"}[7d])) / '
        "sum by (tool, model) (increase(opencode_edit_attempts_total[7d]))"
    ),
)
EDIT_TRIES = Metric(
    group="edits",
    name="opencode_edit_attempts_per_change",
    kind="histogram",
    help="Attempts on the same file in the same turn until one succeeded.",
    otlp="opencode.edit.attempts_per_change",
    otlp_unit="{attempt}",
    labels=("tool",),
    buckets=ATTEMPT_BUCKETS,
    example=(
        "sum by (tool) (rate(opencode_edit_attempts_per_change_sum[7d])) / sum by (tool) "
        "(rate(opencode_edit_attempts_per_change_count[7d]))"
    ),
)
EDIT_ABANDONED = Metric(
    group="edits",
    name="opencode_edit_abandoned_changes_total",
    kind="counter",
    help="Files on which every attempt of the turn failed.",
    otlp="opencode.edit.abandoned_changes",
    otlp_unit="{change}",
    labels=("tool",),
    example="sum by (tool) (increase(opencode_edit_abandoned_changes_total[7d]))",
)
EDIT_LINES = Metric(
    group="edits",
    name="opencode_edit_lines_total",
    kind="counter",
    help="Lines added and removed, from the recorded diff counts.",
    otlp="opencode.edit.lines",
    otlp_unit="{line}",
    labels=("change", "language"),
    example="sum by (language, change) (increase(opencode_edit_lines_total[7d]))",
)
FILE_OPERATIONS = Metric(
    group="edits",
    name="opencode_file_operations_total",
    kind="counter",
    help="Files read, edited, created, deleted and moved with success.",
    otlp="opencode.file.operations",
    otlp_unit="{operation}",
    labels=("operation", "language"),
    example=(
        "topk(5, sum by (language) "
        '(increase(opencode_file_operations_total{operation="edited"}[7d])))'
    ),
)
FILE_HOT_EDITS = Metric(
    group="edits",
    name="opencode_file_hot_edits",
    kind="gauge",
    help="Edits of the last 7 days of the most edited files (--files.top; off by default).",
    otlp="opencode.file.hot_edits",
    otlp_unit="{edit}",
    labels=("path",),
    example="topk(10, opencode_file_hot_edits)",
)

# Sessions, turns, models.

METRICS: Final = (
    EDIT_ATTEMPTS,
    EDIT_TRIES,
    EDIT_ABANDONED,
    EDIT_LINES,
    FILE_OPERATIONS,
    FILE_HOT_EDITS,
)
