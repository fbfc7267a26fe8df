"""
The catalogue: every metric, declared once.

Exposition, the OTLP names, the reference in the README and the tests follow
from it.  A name here is a promise to users; it is neither renamed nor dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Group = Literal["skills", "tools", "source", "self"]

DURATION_BUCKETS: Final = tuple(0.01 * 2**i for i in range(19))
"""Seconds, 0.01 doubling to 2621.44; up to 81.92 the edges of gen_ai.execute_tool.duration."""
POLL_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True)
class Metric:
    """
    One metric under both of its names.

    ``scale`` is how many of the ledger's integers make one of the metric's unit
    (1000 where the ledger keeps milliseconds), so that sums stay exact.
    ``merge`` says how a new value meets the one in the ledger.
    """

    group: Group
    name: str
    kind: Kind
    help: str
    otlp: str
    otlp_unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    scale: int = 1
    merge: Literal["add", "min", "max"] = "add"

    @property
    def family(self) -> str:
        """The name without the suffix that the text formats add to counters."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name

    @property
    def waits_for_baseline(self) -> bool:
        """Whether it stays hidden until the history has been counted (metrics that count)."""
        return self.group in ("skills", "tools")


# Skills.

SKILL_INVOCATIONS = Metric(
    "skills",
    "opencode_skill_invocations_total",
    "counter",
    "Skill loads that ended.",
    "opencode.skill.invocations",
    "{invocation}",
    labels=("skill", "status"),
)
SKILL_USAGE = Metric(
    "skills",
    "opencode_skill_usage_total",
    "counter",
    "The same skill loads, broken down; sums agree.",
    "opencode.skill.usage",
    "{invocation}",
    labels=("skill", "trigger", "agent", "project", "status"),
)
SKILL_DURATION = Metric(
    "skills",
    "opencode_skill_duration_seconds",
    "histogram",
    "How long the skill load itself took (status completed and error only).",
    "opencode.skill.duration",
    "s",
    labels=("skill", "status"),
    buckets=DURATION_BUCKETS,
    scale=1000,
)
SKILL_ERRORS = Metric(
    "skills",
    "opencode_skill_errors_total",
    "counter",
    "Skill loads with status error, by class of error.",
    "opencode.skill.errors",
    "{invocation}",
    labels=("skill", "reason"),
)
SKILL_SESSIONS = Metric(
    "skills",
    "opencode_skill_sessions_total",
    "counter",
    "Sessions that loaded the skill at least once.",
    "opencode.skill.sessions",
    "{session}",
    labels=("skill",),
)
SKILL_RELOADS = Metric(
    "skills",
    "opencode_skill_reloads_total",
    "counter",
    "Skill loads in a session that had loaded the skill before.",
    "opencode.skill.reloads",
    "{invocation}",
    labels=("skill",),
)
SKILL_CONTENT = Metric(
    "skills",
    "opencode_skill_content_bytes_total",
    "counter",
    "Text that skill loads put into the context.",
    "opencode.skill.content",
    "By",
    labels=("skill",),
)
SKILL_FIRST_USED = Metric(
    "skills",
    "opencode_skill_first_used_timestamp_seconds",
    "gauge",
    "When the skill was first loaded, by the source's clock.",
    "opencode.skill.first_used.timestamp",
    "s",
    labels=("skill",),
    scale=1000,
    merge="min",
)
SKILL_LAST_USED = Metric(
    "skills",
    "opencode_skill_last_used_timestamp_seconds",
    "gauge",
    "When the skill was last loaded, by the source's clock.",
    "opencode.skill.last_used.timestamp",
    "s",
    labels=("skill",),
    scale=1000,
    merge="max",
)
SKILL_INSTALLED = Metric(
    "skills",
    "opencode_skill_installed",
    "gauge",
    "1 for each skill on disk: project, user or builtin.",
    "opencode.skill.installed",
    labels=("skill", "scope"),
)

# Tools.

TOOL_INVOCATIONS = Metric(
    "tools",
    "opencode_tool_invocations_total",
    "counter",
    "Invocations that ended, skill loads by the model included.",
    "opencode.tool.invocations",
    "{invocation}",
    labels=("tool", "status"),
)
TOOL_USAGE = Metric(
    "tools",
    "opencode_tool_usage_total",
    "counter",
    "The same invocations, broken down; sums agree.",
    "opencode.tool.usage",
    "{invocation}",
    labels=("tool", "agent", "project", "status"),
)
TOOL_DURATION = Metric(
    "tools",
    "opencode_tool_duration_seconds",
    "histogram",
    "Execution time (status completed and error only); 1.x includes waiting for permission.",
    "opencode.tool.duration",
    "s",
    labels=("tool", "status"),
    buckets=DURATION_BUCKETS,
    scale=1000,
)
TOOL_WAIT = Metric(
    "tools",
    "opencode_tool_wait_seconds",
    "histogram",
    "Time before execution: arguments streaming and permission (2.x only).",
    "opencode.tool.wait",
    "s",
    labels=("tool",),
    buckets=DURATION_BUCKETS,
    scale=1000,
)
TOOL_ERRORS = Metric(
    "tools",
    "opencode_tool_errors_total",
    "counter",
    "Invocations with status error, by class of error.",
    "opencode.tool.errors",
    "{invocation}",
    labels=("tool", "reason"),
)
TOOL_IN_FLIGHT = Metric(
    "tools",
    "opencode_tool_in_flight",
    "gauge",
    "Invocations running now; abandoned ones are not.",
    "opencode.tool.in_flight",
    "{invocation}",
    labels=("tool",),
)
TOOL_OLDEST_START = Metric(
    "tools",
    "opencode_tool_in_flight_oldest_start_timestamp_seconds",
    "gauge",
    "Start of the oldest invocation running now.",
    "opencode.tool.in_flight.oldest_start.timestamp",
    "s",
    labels=("tool",),
    scale=1000,
    merge="min",
)
TOOL_OUTPUT = Metric(
    "tools",
    "opencode_tool_output_bytes_total",
    "counter",
    "Output text of invocations.",
    "opencode.tool.output",
    "By",
    labels=("tool",),
)
TOOL_TRUNCATED = Metric(
    "tools",
    "opencode_tool_output_truncated_total",
    "counter",
    "Invocations whose output was cut.",
    "opencode.tool.output.truncated",
    "{invocation}",
    labels=("tool",),
)
TOOL_INFO = Metric(
    "tools",
    "opencode_tool_info",
    "gauge",
    "1; the category of the tool, and its MCP server or nothing.",
    "opencode.tool.info",
    labels=("tool", "category", "server"),
)
SHELL_EXITS = Metric(
    "tools",
    "opencode_shell_exits_total",
    "counter",
    "Shell invocations by program and exit: zero, nonzero, timeout, killed, unknown.",
    "opencode.shell.exits",
    "{invocation}",
    labels=("program", "exit"),
)

# The source.

UP = Metric(
    "source",
    "opencode_up",
    "gauge",
    "1 if the last poll of this source succeeded.",
    "opencode.up",
    labels=("source",),
)
SOURCE_INFO = Metric(
    "source",
    "opencode_source_info",
    "gauge",
    "1; storage generation and the newest OpenCode version that wrote a session.",
    "opencode.source.info",
    labels=("source", "generation", "opencode_version"),
)
SOURCE_SUPPORTED = Metric(
    "source",
    "opencode_source_supported",
    "gauge",
    "0 if tables or columns that the exporter relies on are not there.",
    "opencode.source.supported",
    labels=("source",),
)
SOURCE_BYTES = Metric(
    "source",
    "opencode_source_bytes",
    "gauge",
    "Size of the source's files: main, wal.",
    "opencode.source.bytes",
    "By",
    labels=("source", "part"),
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
)

# The exporter itself.

BUILD_INFO = Metric(
    "self",
    "opencode_exporter_build_info",
    "gauge",
    "1; versions of the exporter, of Python and of SQLite.",
    "opencode.exporter.build_info",
    labels=("version", "python", "sqlite"),
)
BASELINE = Metric(
    "self",
    "opencode_exporter_baseline_timestamp_seconds",
    "gauge",
    "When the history had been counted and counting forward began.",
    "opencode.exporter.baseline.timestamp",
    "s",
    scale=1000,
)
CATCHING_UP = Metric(
    "self",
    "opencode_exporter_catching_up",
    "gauge",
    "1 while invocations that ended more than 15 minutes before they were read come in.",
    "opencode.exporter.catching_up",
)
POLLS = Metric(
    "self",
    "opencode_exporter_polls_total",
    "counter",
    "Polls of the source by result: ok, error.",
    "opencode.exporter.polls",
    "{poll}",
    labels=("source", "result"),
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
)
ROWS_READ = Metric(
    "self",
    "opencode_exporter_rows_read_total",
    "counter",
    "Rows read and decoded; those that cannot hold an invocation stay in SQLite.",
    "opencode.exporter.rows_read",
    "{row}",
    labels=("source", "table"),
)
ROWS_REJECTED = Metric(
    "self",
    "opencode_exporter_rows_rejected_total",
    "counter",
    "Rows that could not be decoded: set aside, counted, never fatal.",
    "opencode.exporter.rows_rejected",
    "{row}",
    labels=("source", "table", "cause"),
)
COPIES_SKIPPED = Metric(
    "self",
    "opencode_exporter_copies_skipped_total",
    "counter",
    "Events that were copies of counted ones, by cause: fork, upgrade.",
    "opencode.exporter.copies_skipped",
    "{event}",
    labels=("cause",),
)
LATE_ENDS = Metric(
    "self",
    "opencode_exporter_late_ends_total",
    "counter",
    "Invocations that ended after they had been counted as abandoned.",
    "opencode.exporter.late_ends",
    "{invocation}",
    labels=("status",),
)
LABEL_OVERFLOW = Metric(
    "self",
    "opencode_exporter_label_overflow_total",
    "counter",
    "Observations whose labels went to _other because a limit was reached.",
    "opencode.exporter.label_overflow",
    "{observation}",
    labels=("metric",),
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
)
LEDGER_BYTES = Metric(
    "self",
    "opencode_exporter_ledger_bytes",
    "gauge",
    "Size of the ledger's files.",
    "opencode.exporter.ledger.bytes",
    "By",
)

METRICS: Final = tuple(value for value in list(vars().values()) if isinstance(value, Metric))
"""All of them, in the order above."""
BY_NAME: Final = {metric.name: metric for metric in METRICS}
