"""The catalogue of skills."""

from __future__ import annotations

from opencode_exporter.catalog.metric import COST_SCALE, DURATION_BUCKETS, STRETCH_BUCKETS, Metric

SKILL_INVOCATIONS = Metric(
    "skills",
    "opencode_skill_invocations_total",
    "counter",
    "Skill loads that ended.",
    "opencode.skill.invocations",
    "{invocation}",
    labels=("skill", "status"),
    example=(
        "topk(10, sum by (skill) "
        '(increase(opencode_skill_invocations_total{status="completed"}[7d])))'
    ),
)
SKILL_USAGE = Metric(
    "skills",
    "opencode_skill_usage_total",
    "counter",
    "The same skill loads, broken down; sums agree.",
    "opencode.skill.usage",
    "{invocation}",
    labels=("skill", "trigger", "agent", "project", "status"),
    example="sum by (skill, project) (increase(opencode_skill_usage_total[30d]))",
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
    example=(
        "histogram_quantile(0.95, sum by (skill, le) "
        "(rate(opencode_skill_duration_seconds_bucket[1d])))"
    ),
)
SKILL_ERRORS = Metric(
    "skills",
    "opencode_skill_errors_total",
    "counter",
    "Skill loads with status error, by class of error.",
    "opencode.skill.errors",
    "{invocation}",
    labels=("skill", "reason"),
    example="topk(10, sum by (skill, reason) (increase(opencode_skill_errors_total[7d])))",
)
SKILL_SESSIONS = Metric(
    "skills",
    "opencode_skill_sessions_total",
    "counter",
    "Sessions that loaded the skill at least once.",
    "opencode.skill.sessions",
    "{session}",
    labels=("skill",),
    example="sum by (skill) (opencode_skill_sessions_total) / scalar(sum(opencode_sessions_total))",
)
SKILL_RELOADS = Metric(
    "skills",
    "opencode_skill_reloads_total",
    "counter",
    "Skill loads in a session that had loaded the skill before.",
    "opencode.skill.reloads",
    "{invocation}",
    labels=("skill",),
    example=(
        "sum by (skill) (increase(opencode_skill_reloads_total[7d])) / sum by (skill) "
        "(increase(opencode_skill_invocations_total[7d]))"
    ),
)
SKILL_CONTENT = Metric(
    "skills",
    "opencode_skill_content_bytes_total",
    "counter",
    "Text that skill loads put into the context.",
    "opencode.skill.content",
    "By",
    labels=("skill",),
    example=(
        "sum by (skill) (opencode_skill_content_bytes_total) / sum by (skill) "
        '(opencode_skill_invocations_total{status="completed"})'
    ),
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
    example="sort(time() - min by (skill) (opencode_skill_first_used_timestamp_seconds))",
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
    example="sort_desc(time() - max by (skill) (opencode_skill_last_used_timestamp_seconds))",
)
SKILL_INSTALLED = Metric(
    "skills",
    "opencode_skill_installed",
    "gauge",
    "1 for each skill on disk: project, user or builtin.",
    "opencode.skill.installed",
    labels=("skill", "scope"),
    example=(
        "opencode_skill_installed unless on (instance, skill) (sum by (instance, skill) "
        "(opencode_skill_invocations_total) > 0)"
    ),
)
SKILL_TRANSITIONS = Metric(
    "skills",
    "opencode_skill_transitions_total",
    "counter",
    "Pairs of skills loaded one after the other in the same session.",
    "opencode.skill.transitions",
    "{transition}",
    labels=("from_skill", "to_skill"),
    example=(
        "topk(10, sum by (from_skill, to_skill) (increase(opencode_skill_transitions_total[30d])))"
    ),
)
SKILL_NEXT_TOOL = Metric(
    "skills",
    "opencode_skill_next_tool_total",
    "counter",
    "The first tool called after a load, in a later step of the session.",
    "opencode.skill.next_tool",
    "{invocation}",
    labels=("skill", "tool"),
    example="topk by (skill) (1, sum by (skill, tool) (opencode_skill_next_tool_total))",
)
SKILL_RUNS = Metric(
    "skills",
    "opencode_skill_runs_total",
    "counter",
    "Skill runs that closed, by how.",
    "opencode.skill.runs",
    "{run}",
    labels=("skill", "agent", "outcome"),
    example=(
        'sum by (skill) (increase(opencode_skill_runs_total{outcome="succeeded"}[7d])) / sum by '
        "(skill) (increase(opencode_skill_runs_total[7d]))"
    ),
)
SKILL_RUN_DURATION = Metric(
    "skills",
    "opencode_skill_run_duration_seconds",
    "histogram",
    "From the end of the load to the close of its run.",
    "opencode.skill.run.duration",
    "s",
    labels=("skill",),
    buckets=STRETCH_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.5, sum by (skill, le) "
        "(rate(opencode_skill_run_duration_seconds_bucket[7d])))"
    ),
)
SKILL_RUN_INVOCATIONS = Metric(
    "skills",
    "opencode_skill_run_tool_invocations_total",
    "counter",
    "Invocations inside skill runs.",
    "opencode.skill.run.tool.invocations",
    "{invocation}",
    labels=("skill", "tool", "status"),
    example=(
        "topk(10, sum by (skill, tool) "
        '(increase(opencode_skill_run_tool_invocations_total{status="error"}[7d])))'
    ),
)
SKILL_RUN_RETRIES = Metric(
    "skills",
    "opencode_skill_run_retries_total",
    "counter",
    "Invocations inside skill runs that were retries.",
    "opencode.skill.run.retries",
    "{invocation}",
    labels=("skill",),
    example=(
        "sum by (skill) (increase(opencode_skill_run_retries_total[7d])) / sum by (skill) "
        "(increase(opencode_skill_runs_total[7d]))"
    ),
)
SKILL_RUN_TOKENS = Metric(
    "skills",
    "opencode_skill_run_tokens_total",
    "counter",
    "Tokens of the steps inside skill runs.",
    "opencode.skill.run.tokens",
    "{token}",
    labels=("skill", "token_type"),
    example=(
        "sum by (skill, token_type) (increase(opencode_skill_run_tokens_total[7d])) / on (skill) "
        "group_left () sum by (skill) (increase(opencode_skill_runs_total[7d]))"
    ),
)
SKILL_RUN_COST = Metric(
    "skills",
    "opencode_skill_run_cost_usd_total",
    "counter",
    "Cost of the steps inside skill runs, US dollars.",
    "opencode.skill.run.cost.usd",
    "{USD}",
    labels=("skill",),
    scale=COST_SCALE,
    example="topk(5, sum by (skill) (increase(opencode_skill_run_cost_usd_total[30d])))",
)
