"""The catalogue of edits and files, and of sessions, turns and models."""

from __future__ import annotations

from opencode_exporter.catalog.metric import (
    ATTEMPT_BUCKETS,
    COST_SCALE,
    DURATION_BUCKETS,
    SESSION_CALL_BUCKETS,
    STRETCH_BUCKETS,
    Metric,
)

EDIT_ATTEMPTS = Metric(
    "edits",
    "opencode_edit_attempts_total",
    "counter",
    "Invocations of the tools that edit files, by model.",
    "opencode.edit.attempts",
    "{invocation}",
    labels=("tool", "provider", "model", "status"),
    example=(
        'sum by (tool, model) (increase(opencode_edit_attempts_total{status="completed"}[7d])) / '
        "sum by (tool, model) (increase(opencode_edit_attempts_total[7d]))"
    ),
)
EDIT_TRIES = Metric(
    "edits",
    "opencode_edit_attempts_per_change",
    "histogram",
    "Attempts on the same file in the same turn until one succeeded.",
    "opencode.edit.attempts_per_change",
    "{attempt}",
    labels=("tool",),
    buckets=ATTEMPT_BUCKETS,
    example=(
        "sum by (tool) (rate(opencode_edit_attempts_per_change_sum[7d])) / sum by (tool) "
        "(rate(opencode_edit_attempts_per_change_count[7d]))"
    ),
)
EDIT_ABANDONED = Metric(
    "edits",
    "opencode_edit_abandoned_changes_total",
    "counter",
    "Files on which every attempt of the turn failed.",
    "opencode.edit.abandoned_changes",
    "{change}",
    labels=("tool",),
    example="sum by (tool) (increase(opencode_edit_abandoned_changes_total[7d]))",
)
EDIT_LINES = Metric(
    "edits",
    "opencode_edit_lines_total",
    "counter",
    "Lines added and removed, from the recorded diff counts.",
    "opencode.edit.lines",
    "{line}",
    labels=("change", "language"),
    example="sum by (language, change) (increase(opencode_edit_lines_total[7d]))",
)
FILE_OPERATIONS = Metric(
    "edits",
    "opencode_file_operations_total",
    "counter",
    "Files read, edited, created, deleted and moved with success.",
    "opencode.file.operations",
    "{operation}",
    labels=("operation", "language"),
    example=(
        "topk(5, sum by (language) "
        '(increase(opencode_file_operations_total{operation="edited"}[7d])))'
    ),
)
FILE_HOT_EDITS = Metric(
    "edits",
    "opencode_file_hot_edits",
    "gauge",
    "Edits of the last 7 days of the most edited files (--files.top; off by default).",
    "opencode.file.hot_edits",
    "{edit}",
    labels=("path",),
    example="topk(10, opencode_file_hot_edits)",
)

# Sessions, turns, models.

SESSIONS = Metric(
    "sessions",
    "opencode_sessions_total",
    "counter",
    "Sessions with a message: root, subagent, fork.",
    "opencode.sessions",
    "{session}",
    labels=("session_kind", "project"),
    example='sum by (project) (increase(opencode_sessions_total{session_kind="root"}[7d]))',
)
SESSIONS_ACTIVE = Metric(
    "sessions",
    "opencode_sessions_active",
    "gauge",
    "Sessions changed in the last 5 minutes.",
    "opencode.sessions.active",
    "{session}",
    example="max_over_time(opencode_sessions_active[1d])",
)
SESSION_INVOCATIONS = Metric(
    "sessions",
    "opencode_session_tool_invocations",
    "histogram",
    "Invocations per session, once it has been idle for an hour or is archived.",
    "opencode.session.tool.invocations",
    "{invocation}",
    labels=("session_kind",),
    buckets=SESSION_CALL_BUCKETS,
    example=(
        "histogram_quantile(0.5, sum by (session_kind, le) "
        "(opencode_session_tool_invocations_bucket))"
    ),
)
TURNS = Metric(
    "sessions",
    "opencode_turns_total",
    "counter",
    "Turns that ended: what answers one human message.",
    "opencode.turns",
    "{turn}",
    labels=("agent", "outcome"),
    example=(
        "sum by (agent, outcome) (increase(opencode_turns_total[7d])) / on (agent) group_left () "
        "sum by (agent) (increase(opencode_turns_total[7d]))"
    ),
)
TURN_DURATION = Metric(
    "sessions",
    "opencode_turn_duration_seconds",
    "histogram",
    "From the human message to the end of the last step.",
    "opencode.turn.duration",
    "s",
    labels=("agent",),
    buckets=STRETCH_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.9, sum by (agent, le) "
        "(rate(opencode_turn_duration_seconds_bucket[1d])))"
    ),
)
MESSAGES = Metric(
    "sessions",
    "opencode_messages_total",
    "counter",
    "Messages by role: user, assistant.",
    "opencode.messages",
    "{message}",
    labels=("role", "agent"),
    example=(
        'sum(increase(opencode_messages_total{role="assistant"}[1d])) / '
        'sum(increase(opencode_messages_total{role="user"}[1d]))'
    ),
)
SESSION_ERRORS = Metric(
    "sessions",
    "opencode_session_errors_total",
    "counter",
    "Steps with an error, by its name in the source.",
    "opencode.session.errors",
    "{error}",
    labels=("error",),
    example="topk(5, sum by (error) (increase(opencode_session_errors_total[7d])))",
)
COMPACTIONS = Metric(
    "sessions",
    "opencode_session_compactions_total",
    "counter",
    "Compactions of the context: auto, manual.",
    "opencode.session.compactions",
    "{compaction}",
    labels=("mode",),
    example="sum by (mode) (increase(opencode_session_compactions_total[7d]))",
)
STEPS = Metric(
    "sessions",
    "opencode_steps_total",
    "counter",
    "Model steps that finished, by how.",
    "opencode.steps",
    "{step}",
    labels=("provider", "model", "finish"),
    example="sum by (model, finish) (increase(opencode_steps_total[1d]))",
)
STEP_DURATION = Metric(
    "sessions",
    "opencode_step_duration_seconds",
    "histogram",
    "Model steps from creation to completion, invocations included.",
    "opencode.step.duration",
    "s",
    labels=("provider", "model"),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "sum by (model) (rate(opencode_step_duration_seconds_sum[1h])) / sum by (model) "
        "(rate(opencode_step_duration_seconds_count[1h]))"
    ),
)
MODEL_RESPONSE = Metric(
    "sessions",
    "opencode_model_response_seconds",
    "histogram",
    "Time until the model's answer had streamed (2.x only).",
    "opencode.model.response",
    "s",
    labels=("provider", "model"),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.95, sum by (provider, model, le) "
        "(rate(opencode_model_response_seconds_bucket[1h])))"
    ),
)
MODEL_RETRIES = Metric(
    "sessions",
    "opencode_model_retries_total",
    "counter",
    "Steps asked again after a broken stream (2.x only). "
    "HTTP errors that were retried are in no row of any version.",
    "opencode.model.retries",
    "{request}",
    labels=("provider", "model"),
    example=(
        "sum by (provider, model) (increase(opencode_model_retries_total[1d])) / sum by "
        "(provider, model) (increase(opencode_steps_total[1d]))"
    ),
)
TOKENS = Metric(
    "sessions",
    "opencode_tokens_total",
    "counter",
    "Tokens: input, output, reasoning, cache_read, cache_write; they do not overlap.",
    "opencode.tokens",
    "{token}",
    labels=("provider", "model", "token_type"),
    example=(
        'sum by (model) (increase(opencode_tokens_total{token_type="cache_read"}[1d])) / sum by '
        "(model) "
        '(increase(opencode_tokens_total{token_type=~"input|cache_read|cache_write"}[1d]))'
    ),
)
COST = Metric(
    "sessions",
    "opencode_cost_usd_total",
    "counter",
    "Cost as the source records it, US dollars.",
    "opencode.cost.usd",
    "{USD}",
    labels=("provider", "model", "agent", "project"),
    scale=COST_SCALE,
    example="sum by (project) (increase(opencode_cost_usd_total[30d]))",
)
TODOS = Metric(
    "sessions",
    "opencode_todos",
    "gauge",
    "Todo items of active sessions (1.x only).",
    "opencode.todos",
    "{item}",
    labels=("todo_status",),
    example="sum by (todo_status) (opencode_todos)",
)
