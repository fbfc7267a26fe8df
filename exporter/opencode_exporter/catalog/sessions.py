"""The catalogue of sessions, turns and models."""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog.metric import (
    COST_SCALE,
    DURATION_BUCKETS,
    SESSION_CALL_BUCKETS,
    STRETCH_BUCKETS,
    Metric,
)

SESSIONS = Metric(
    group="sessions",
    name="opencode_sessions_total",
    kind="counter",
    help="Sessions with a message: root, subagent, fork.",
    otlp="opencode.sessions",
    otlp_unit="{session}",
    labels=("session_kind", "project"),
    example='sum by (project) (increase(opencode_sessions_total{session_kind="root"}[7d]))',
)
SESSIONS_ACTIVE = Metric(
    group="sessions",
    name="opencode_sessions_active",
    kind="gauge",
    help="Sessions changed in the last 5 minutes.",
    otlp="opencode.sessions.active",
    otlp_unit="{session}",
    example="max_over_time(opencode_sessions_active[1d])",
)
SESSION_INVOCATIONS = Metric(
    group="sessions",
    name="opencode_session_tool_invocations",
    kind="histogram",
    help="Invocations per session, once it has been idle for an hour or is archived.",
    otlp="opencode.session.tool.invocations",
    otlp_unit="{invocation}",
    labels=("session_kind",),
    buckets=SESSION_CALL_BUCKETS,
    example=(
        "histogram_quantile(0.5, sum by (session_kind, le) "
        "(opencode_session_tool_invocations_bucket))"
    ),
)
TURNS = Metric(
    group="sessions",
    name="opencode_turns_total",
    kind="counter",
    help="Turns that ended: what answers one human message.",
    otlp="opencode.turns",
    otlp_unit="{turn}",
    labels=("agent", "outcome"),
    example=(
        "sum by (agent, outcome) (increase(opencode_turns_total[7d])) / on (agent) group_left () "
        "sum by (agent) (increase(opencode_turns_total[7d]))"
    ),
)
TURN_DURATION = Metric(
    group="sessions",
    name="opencode_turn_duration_seconds",
    kind="histogram",
    help="From the human message to the end of the last step.",
    otlp="opencode.turn.duration",
    otlp_unit="s",
    labels=("agent",),
    buckets=STRETCH_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.9, sum by (agent, le) "
        "(rate(opencode_turn_duration_seconds_bucket[1d])))"
    ),
)
MESSAGES = Metric(
    group="sessions",
    name="opencode_messages_total",
    kind="counter",
    help="Messages by role: user, assistant.",
    otlp="opencode.messages",
    otlp_unit="{message}",
    labels=("role", "agent"),
    example=(
        'sum(increase(opencode_messages_total{role="assistant"}[1d])) / '
        'sum(increase(opencode_messages_total{role="user"}[1d]))'
    ),
)
SESSION_ERRORS = Metric(
    group="sessions",
    name="opencode_session_errors_total",
    kind="counter",
    help="Steps with an error, by its name in the source.",
    otlp="opencode.session.errors",
    otlp_unit="{error}",
    labels=("error",),
    example="topk(5, sum by (error) (increase(opencode_session_errors_total[7d])))",
)
COMPACTIONS = Metric(
    group="sessions",
    name="opencode_session_compactions_total",
    kind="counter",
    help="Compactions of the context: auto, manual.",
    otlp="opencode.session.compactions",
    otlp_unit="{compaction}",
    labels=("mode",),
    example="sum by (mode) (increase(opencode_session_compactions_total[7d]))",
)
STEPS = Metric(
    group="sessions",
    name="opencode_steps_total",
    kind="counter",
    help="Model steps that finished, by how.",
    otlp="opencode.steps",
    otlp_unit="{step}",
    labels=("provider", "model", "finish"),
    example="sum by (model, finish) (increase(opencode_steps_total[1d]))",
)
STEP_DURATION = Metric(
    group="sessions",
    name="opencode_step_duration_seconds",
    kind="histogram",
    help="Model steps from creation to completion, invocations included.",
    otlp="opencode.step.duration",
    otlp_unit="s",
    labels=("provider", "model"),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "sum by (model) (rate(opencode_step_duration_seconds_sum[1h])) / sum by (model) "
        "(rate(opencode_step_duration_seconds_count[1h]))"
    ),
)
MODEL_RESPONSE = Metric(
    group="sessions",
    name="opencode_model_response_seconds",
    kind="histogram",
    help="Time until the model's answer had streamed (2.x only).",
    otlp="opencode.model.response",
    otlp_unit="s",
    labels=("provider", "model"),
    buckets=DURATION_BUCKETS,
    scale=1000,
    example=(
        "histogram_quantile(0.95, sum by (provider, model, le) "
        "(rate(opencode_model_response_seconds_bucket[1h])))"
    ),
)
MODEL_RETRIES = Metric(
    group="sessions",
    name="opencode_model_retries_total",
    kind="counter",
    help="Steps asked again after a broken stream (2.x only). "
    "HTTP errors that were retried are in no row of any version.",
    otlp="opencode.model.retries",
    otlp_unit="{request}",
    labels=("provider", "model"),
    example=(
        "sum by (provider, model) (increase(opencode_model_retries_total[1d])) / sum by "
        "(provider, model) (increase(opencode_steps_total[1d]))"
    ),
)
TOKENS = Metric(
    group="sessions",
    name="opencode_tokens_total",
    kind="counter",
    help="Tokens: input, output, reasoning, cache_read, cache_write; they do not overlap.",
    otlp="opencode.tokens",
    otlp_unit="{token}",
    labels=("provider", "model", "token_type"),
    example=(
        'sum by (model) (increase(opencode_tokens_total{token_type="cache_read"}[1d])) / sum by '
        "(model) "
        '(increase(opencode_tokens_total{token_type=~"input|cache_read|cache_write"}[1d]))'
    ),
)
COST = Metric(
    group="sessions",
    name="opencode_cost_usd_total",
    kind="counter",
    help="Cost as the source records it, US dollars.",
    otlp="opencode.cost.usd",
    otlp_unit="{USD}",
    labels=("provider", "model", "agent", "project"),
    scale=COST_SCALE,
    example="sum by (project) (increase(opencode_cost_usd_total[30d]))",
)
TODOS = Metric(
    group="sessions",
    name="opencode_todos",
    kind="gauge",
    help="Todo items of active sessions (1.x only).",
    otlp="opencode.todos",
    otlp_unit="{item}",
    labels=("todo_status",),
    example="sum by (todo_status) (opencode_todos)",
)

METRICS: Final = (
    SESSIONS,
    SESSIONS_ACTIVE,
    SESSION_INVOCATIONS,
    TURNS,
    TURN_DURATION,
    MESSAGES,
    SESSION_ERRORS,
    COMPACTIONS,
    STEPS,
    STEP_DURATION,
    MODEL_RESPONSE,
    MODEL_RETRIES,
    TOKENS,
    COST,
    TODOS,
)
