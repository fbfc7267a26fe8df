"""The catalogue of skills."""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog.metric import COST_SCALE, DURATION_BUCKETS, STRETCH_BUCKETS, Metric

SKILL_INVOCATIONS = Metric(
    group="skills",
    name="opencode_skill_invocations_total",
    kind="counter",
    help="Skill loads that ended.",
    otlp="opencode.skill.invocations",
    otlp_unit="{invocation}",
    labels=("skill", "status"),
    example=(
        "topk(10, sum by (skill) "
        '(increase(opencode_skill_invocations_total{status="completed"}[7d])))'
    ),
)
SKILL_USAGE = Metric(
    group="skills",
    name="opencode_skill_usage_total",
    kind="counter",
    help="The same skill loads, broken down; sums agree.",
    otlp="opencode.skill.usage",
    otlp_unit="{invocation}",
    labels=("skill", "trigger", "agent", "project", "status"),
    example="sum by (skill, project) (increase(opencode_skill_usage_total[30d]))",
)
SKILL_DURATION = Metric(
    group="skills",
    name="opencode_skill_duration_seconds",
    kind="histogram",
    help="How long the skill load itself took (status completed and error only).",
    otlp="opencode.skill.duration",
    otlp_unit="s",
    labels=("skill", "status"),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.95, sum by (skill, le) "
        "(rate(opencode_skill_duration_seconds_bucket[1d])))"
    ),
)
SKILL_ERRORS = Metric(
    group="skills",
    name="opencode_skill_errors_total",
    kind="counter",
    help="Skill loads with status error, by class of error.",
    otlp="opencode.skill.errors",
    otlp_unit="{invocation}",
    labels=("skill", "reason"),
    example="topk(10, sum by (skill, reason) (increase(opencode_skill_errors_total[7d])))",
)
SKILL_SESSIONS = Metric(
    group="skills",
    name="opencode_skill_sessions_total",
    kind="counter",
    help="Sessions that loaded the skill at least once.",
    otlp="opencode.skill.sessions",
    otlp_unit="{session}",
    labels=("skill",),
    example="sum by (skill) (opencode_skill_sessions_total) / scalar(sum(opencode_sessions_total))",
)
SKILL_RELOADS = Metric(
    group="skills",
    name="opencode_skill_reloads_total",
    kind="counter",
    help="Skill loads in a session that had loaded the skill before.",
    otlp="opencode.skill.reloads",
    otlp_unit="{invocation}",
    labels=("skill",),
    example=(
        "sum by (skill) (increase(opencode_skill_reloads_total[7d])) / sum by (skill) "
        "(increase(opencode_skill_invocations_total[7d]))"
    ),
)
SKILL_CONTENT = Metric(
    group="skills",
    name="opencode_skill_content_bytes_total",
    kind="counter",
    help="Text that skill loads put into the context.",
    otlp="opencode.skill.content",
    otlp_unit="By",
    labels=("skill",),
    example=(
        "sum by (skill) (opencode_skill_content_bytes_total) / sum by (skill) "
        '(opencode_skill_invocations_total{status="completed"})'
    ),
)
SKILL_FIRST_USED = Metric(
    group="skills",
    name="opencode_skill_first_used_timestamp_seconds",
    kind="gauge",
    help="When the skill was first loaded, by the source's clock.",
    otlp="opencode.skill.first_used.timestamp",
    otlp_unit="s",
    labels=("skill",),
    scale=1000,
    merge="min",
    example="sort(time() - min by (skill) (opencode_skill_first_used_timestamp_seconds))",
)
SKILL_LAST_USED = Metric(
    group="skills",
    name="opencode_skill_last_used_timestamp_seconds",
    kind="gauge",
    help="When the skill was last loaded, by the source's clock.",
    otlp="opencode.skill.last_used.timestamp",
    otlp_unit="s",
    labels=("skill",),
    scale=1000,
    merge="max",
    example="sort_desc(time() - max by (skill) (opencode_skill_last_used_timestamp_seconds))",
)
SKILL_INSTALLED = Metric(
    group="skills",
    name="opencode_skill_installed",
    kind="gauge",
    help="1 for each skill on disk: project, user or builtin.",
    otlp="opencode.skill.installed",
    labels=("skill", "scope"),
    example=(
        "opencode_skill_installed unless on (instance, skill) (sum by (instance, skill) "
        "(opencode_skill_invocations_total) > 0)"
    ),
)
SKILL_TRANSITIONS = Metric(
    group="skills",
    name="opencode_skill_transitions_total",
    kind="counter",
    help="Pairs of skills loaded one after the other in the same session.",
    otlp="opencode.skill.transitions",
    otlp_unit="{transition}",
    labels=("from_skill", "to_skill"),
    example=(
        "topk(10, sum by (from_skill, to_skill) (increase(opencode_skill_transitions_total[30d])))"
    ),
)
SKILL_NEXT_TOOL = Metric(
    group="skills",
    name="opencode_skill_next_tool_total",
    kind="counter",
    help="The first tool called after a load, in a later step of the session.",
    otlp="opencode.skill.next_tool",
    otlp_unit="{invocation}",
    labels=("skill", "tool"),
    example="topk by (skill) (1, sum by (skill, tool) (opencode_skill_next_tool_total))",
)
SKILL_RUNS = Metric(
    group="skills",
    name="opencode_skill_runs_total",
    kind="counter",
    help="Skill runs that closed, by how.",
    otlp="opencode.skill.runs",
    otlp_unit="{run}",
    labels=("skill", "agent", "outcome"),
    example=(
        'sum by (skill) (increase(opencode_skill_runs_total{outcome="succeeded"}[7d])) / sum by '
        "(skill) (increase(opencode_skill_runs_total[7d]))"
    ),
)
SKILL_RUN_DURATION = Metric(
    group="skills",
    name="opencode_skill_run_duration_seconds",
    kind="histogram",
    help="From the end of the load to the close of its run.",
    otlp="opencode.skill.run.duration",
    otlp_unit="s",
    labels=("skill",),
    buckets=STRETCH_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.5, sum by (skill, le) "
        "(rate(opencode_skill_run_duration_seconds_bucket[7d])))"
    ),
)
SKILL_RUN_INVOCATIONS = Metric(
    group="skills",
    name="opencode_skill_run_tool_invocations_total",
    kind="counter",
    help="Invocations inside skill runs.",
    otlp="opencode.skill.run.tool.invocations",
    otlp_unit="{invocation}",
    labels=("skill", "tool", "status"),
    example=(
        "topk(10, sum by (skill, tool) "
        '(increase(opencode_skill_run_tool_invocations_total{status="error"}[7d])))'
    ),
)
SKILL_RUN_RETRIES = Metric(
    group="skills",
    name="opencode_skill_run_retries_total",
    kind="counter",
    help="Invocations inside skill runs that were retries.",
    otlp="opencode.skill.run.retries",
    otlp_unit="{invocation}",
    labels=("skill",),
    example=(
        "sum by (skill) (increase(opencode_skill_run_retries_total[7d])) / sum by (skill) "
        "(increase(opencode_skill_runs_total[7d]))"
    ),
)
SKILL_RUN_TOKENS = Metric(
    group="skills",
    name="opencode_skill_run_tokens_total",
    kind="counter",
    help="Tokens of the steps inside skill runs.",
    otlp="opencode.skill.run.tokens",
    otlp_unit="{token}",
    labels=("skill", "token_type"),
    example=(
        "sum by (skill, token_type) (increase(opencode_skill_run_tokens_total[7d])) / on (skill) "
        "group_left () sum by (skill) (increase(opencode_skill_runs_total[7d]))"
    ),
)
SKILL_RUN_COST = Metric(
    group="skills",
    name="opencode_skill_run_cost_usd_total",
    kind="counter",
    help="Cost of the steps inside skill runs, US dollars.",
    otlp="opencode.skill.run.cost.usd",
    otlp_unit="{USD}",
    labels=("skill",),
    scale=COST_SCALE,
    example="topk(5, sum by (skill) (increase(opencode_skill_run_cost_usd_total[30d])))",
)

METRICS: Final = (
    SKILL_INVOCATIONS,
    SKILL_USAGE,
    SKILL_DURATION,
    SKILL_ERRORS,
    SKILL_SESSIONS,
    SKILL_RELOADS,
    SKILL_CONTENT,
    SKILL_FIRST_USED,
    SKILL_LAST_USED,
    SKILL_INSTALLED,
    SKILL_TRANSITIONS,
    SKILL_NEXT_TOOL,
    SKILL_RUNS,
    SKILL_RUN_DURATION,
    SKILL_RUN_INVOCATIONS,
    SKILL_RUN_RETRIES,
    SKILL_RUN_TOKENS,
    SKILL_RUN_COST,
)
