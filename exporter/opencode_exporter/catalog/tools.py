"""The catalogue of tools."""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog.metric import DURATION_BUCKETS, GEN_AI_BUCKETS, Metric

TOOL_INVOCATIONS = Metric(
    group="tools",
    name="opencode_tool_invocations_total",
    kind="counter",
    help="Invocations that ended, skill loads by the model included.",
    otlp="opencode.tool.invocations",
    otlp_unit="{invocation}",
    labels=("tool", "status"),
    example=(
        'sum by (tool) (rate(opencode_tool_invocations_total{status="error"}[1h])) / sum by '
        "(tool) (rate(opencode_tool_invocations_total[1h]))"
    ),
)
TOOL_USAGE = Metric(
    group="tools",
    name="opencode_tool_usage_total",
    kind="counter",
    help="The same invocations, broken down; sums agree.",
    otlp="opencode.tool.usage",
    otlp_unit="{invocation}",
    labels=("tool", "agent", "project", "status"),
    example="sum by (agent, tool) (increase(opencode_tool_usage_total[1d]))",
)
TOOL_DURATION = Metric(
    group="tools",
    name="opencode_tool_duration_seconds",
    kind="histogram",
    help="Execution time (status completed and error only); 1.x includes waiting for permission.",
    otlp="opencode.tool.duration",
    otlp_unit="s",
    labels=("tool", "status"),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.95, sum by (tool, le) "
        "(rate(opencode_tool_duration_seconds_bucket[1d])))"
    ),
)
EXECUTE_TOOL = Metric(
    group="tools",
    name="gen_ai_execute_tool_duration_seconds",
    kind="histogram",
    help=(
        "Execution time in the words of the GenAI conventions; error.type is _OTHER for reason "
        "other."
    ),
    otlp="gen_ai.execute_tool.duration",
    otlp_unit="s",
    labels=("tool", "agent", "reason"),
    buckets=GEN_AI_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.95, sum by (gen_ai_tool_name, le) "
        "(rate(gen_ai_execute_tool_duration_seconds_bucket[1d])))"
    ),
    attributes=("gen_ai.tool.name", "gen_ai.agent.name", "error.type"),
    only_otlp=True,
)
TOOL_WAIT = Metric(
    group="tools",
    name="opencode_tool_wait_seconds",
    kind="histogram",
    help="Time before execution: arguments streaming and permission (2.x only).",
    otlp="opencode.tool.wait",
    otlp_unit="s",
    labels=("tool",),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.95, sum by (tool, le) (rate(opencode_tool_wait_seconds_bucket[1d])))"
    ),
)
TOOL_ERRORS = Metric(
    group="tools",
    name="opencode_tool_errors_total",
    kind="counter",
    help="Invocations with status error, by class of error.",
    otlp="opencode.tool.errors",
    otlp_unit="{invocation}",
    labels=("tool", "reason"),
    example="topk(10, sum by (tool, reason) (increase(opencode_tool_errors_total[7d])))",
)
TOOL_IN_FLIGHT = Metric(
    group="tools",
    name="opencode_tool_in_flight",
    kind="gauge",
    help="Invocations running now; abandoned ones are not.",
    otlp="opencode.tool.in_flight",
    otlp_unit="{invocation}",
    labels=("tool",),
    example="sum by (tool) (opencode_tool_in_flight)",
)
TOOL_OLDEST_START = Metric(
    group="tools",
    name="opencode_tool_in_flight_oldest_start_timestamp_seconds",
    kind="gauge",
    help="Start of the oldest invocation running now.",
    otlp="opencode.tool.in_flight.oldest_start.timestamp",
    otlp_unit="s",
    labels=("tool",),
    scale=1000,
    merge="min",
    example="time() - opencode_tool_in_flight_oldest_start_timestamp_seconds > 1800",
)
TOOL_OUTPUT = Metric(
    group="tools",
    name="opencode_tool_output_bytes_total",
    kind="counter",
    help="Output text of invocations.",
    otlp="opencode.tool.output",
    otlp_unit="By",
    labels=("tool",),
    example=(
        "sum by (tool) (rate(opencode_tool_output_bytes_total[1d])) / sum by (tool) "
        "(rate(opencode_tool_invocations_total[1d]))"
    ),
)
TOOL_TRUNCATED = Metric(
    group="tools",
    name="opencode_tool_output_truncated_total",
    kind="counter",
    help="Invocations whose output was cut.",
    otlp="opencode.tool.output.truncated",
    otlp_unit="{invocation}",
    labels=("tool",),
    example=(
        "sum by (tool) (increase(opencode_tool_output_truncated_total[7d])) / sum by (tool) "
        "(increase(opencode_tool_invocations_total[7d]))"
    ),
)
TOOL_INFO = Metric(
    group="tools",
    name="opencode_tool_info",
    kind="gauge",
    help="1; the category of the tool, and its MCP server or nothing.",
    otlp="opencode.tool.info",
    labels=("tool", "category", "server"),
    example=(
        "sum by (category) (increase(opencode_tool_invocations_total[1d]) * on (instance, tool) "
        "group_left (category) opencode_tool_info)"
    ),
)
SHELL_EXITS = Metric(
    group="tools",
    name="opencode_shell_exits_total",
    kind="counter",
    help="Shell invocations by program and exit: zero, nonzero, timeout, killed, unknown.",
    otlp="opencode.shell.exits",
    otlp_unit="{invocation}",
    labels=("program", "exit"),
    example=(
        "sum by (program) "
        '(increase(opencode_shell_exits_total{exit=~"nonzero|timeout|killed"}[1d]))'
    ),
)
TOOL_RETRIES = Metric(
    group="tools",
    name="opencode_tool_retries_total",
    kind="counter",
    help="Invocations that repeat a failed one: same tool and target, in a later step of the turn.",
    otlp="opencode.tool.retries",
    otlp_unit="{invocation}",
    labels=("tool",),
    example=(
        "sum by (tool) (increase(opencode_tool_retries_total[7d])) / sum by (tool) "
        "(increase(opencode_tool_invocations_total[7d]))"
    ),
)

METRICS: Final = (
    TOOL_INVOCATIONS,
    TOOL_USAGE,
    TOOL_DURATION,
    EXECUTE_TOOL,
    TOOL_WAIT,
    TOOL_ERRORS,
    TOOL_IN_FLIGHT,
    TOOL_OLDEST_START,
    TOOL_OUTPUT,
    TOOL_TRUNCATED,
    TOOL_INFO,
    SHELL_EXITS,
    TOOL_RETRIES,
)
