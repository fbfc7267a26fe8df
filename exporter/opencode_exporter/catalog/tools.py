"""The catalogue of tools."""

from __future__ import annotations

from opencode_exporter.catalog.metric import DURATION_BUCKETS, GEN_AI_BUCKETS, Metric

TOOL_INVOCATIONS = Metric(
    "tools",
    "opencode_tool_invocations_total",
    "counter",
    "Invocations that ended, skill loads by the model included.",
    "opencode.tool.invocations",
    "{invocation}",
    labels=("tool", "status"),
    example=(
        'sum by (tool) (rate(opencode_tool_invocations_total{status="error"}[1h])) / sum by '
        "(tool) (rate(opencode_tool_invocations_total[1h]))"
    ),
)
TOOL_USAGE = Metric(
    "tools",
    "opencode_tool_usage_total",
    "counter",
    "The same invocations, broken down; sums agree.",
    "opencode.tool.usage",
    "{invocation}",
    labels=("tool", "agent", "project", "status"),
    example="sum by (agent, tool) (increase(opencode_tool_usage_total[1d]))",
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
    example=(
        "histogram_quantile(0.95, sum by (tool, le) "
        "(rate(opencode_tool_duration_seconds_bucket[1d])))"
    ),
)
EXECUTE_TOOL = Metric(
    "tools",
    "gen_ai_execute_tool_duration_seconds",
    "histogram",
    "Execution time in the words of the GenAI conventions; error.type is _OTHER for reason other.",
    "gen_ai.execute_tool.duration",
    "s",
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
    "tools",
    "opencode_tool_wait_seconds",
    "histogram",
    "Time before execution: arguments streaming and permission (2.x only).",
    "opencode.tool.wait",
    "s",
    labels=("tool",),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.95, sum by (tool, le) (rate(opencode_tool_wait_seconds_bucket[1d])))"
    ),
)
TOOL_ERRORS = Metric(
    "tools",
    "opencode_tool_errors_total",
    "counter",
    "Invocations with status error, by class of error.",
    "opencode.tool.errors",
    "{invocation}",
    labels=("tool", "reason"),
    example="topk(10, sum by (tool, reason) (increase(opencode_tool_errors_total[7d])))",
)
TOOL_IN_FLIGHT = Metric(
    "tools",
    "opencode_tool_in_flight",
    "gauge",
    "Invocations running now; abandoned ones are not.",
    "opencode.tool.in_flight",
    "{invocation}",
    labels=("tool",),
    example="sum by (tool) (opencode_tool_in_flight)",
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
    example="time() - opencode_tool_in_flight_oldest_start_timestamp_seconds > 1800",
)
TOOL_OUTPUT = Metric(
    "tools",
    "opencode_tool_output_bytes_total",
    "counter",
    "Output text of invocations.",
    "opencode.tool.output",
    "By",
    labels=("tool",),
    example=(
        "sum by (tool) (rate(opencode_tool_output_bytes_total[1d])) / sum by (tool) "
        "(rate(opencode_tool_invocations_total[1d]))"
    ),
)
TOOL_TRUNCATED = Metric(
    "tools",
    "opencode_tool_output_truncated_total",
    "counter",
    "Invocations whose output was cut.",
    "opencode.tool.output.truncated",
    "{invocation}",
    labels=("tool",),
    example=(
        "sum by (tool) (increase(opencode_tool_output_truncated_total[7d])) / sum by (tool) "
        "(increase(opencode_tool_invocations_total[7d]))"
    ),
)
TOOL_INFO = Metric(
    "tools",
    "opencode_tool_info",
    "gauge",
    "1; the category of the tool, and its MCP server or nothing.",
    "opencode.tool.info",
    labels=("tool", "category", "server"),
    example=(
        "sum by (category) (increase(opencode_tool_invocations_total[1d]) * on (instance, tool) "
        "group_left (category) opencode_tool_info)"
    ),
)
SHELL_EXITS = Metric(
    "tools",
    "opencode_shell_exits_total",
    "counter",
    "Shell invocations by program and exit: zero, nonzero, timeout, killed, unknown.",
    "opencode.shell.exits",
    "{invocation}",
    labels=("program", "exit"),
    example=(
        "sum by (program) "
        '(increase(opencode_shell_exits_total{exit=~"nonzero|timeout|killed"}[1d]))'
    ),
)
TOOL_RETRIES = Metric(
    "tools",
    "opencode_tool_retries_total",
    "counter",
    "Invocations that repeat a failed one: same tool and target, in a later step of the turn.",
    "opencode.tool.retries",
    "{invocation}",
    labels=("tool",),
    example=(
        "sum by (tool) (increase(opencode_tool_retries_total[7d])) / sum by (tool) "
        "(increase(opencode_tool_invocations_total[7d]))"
    ),
)
