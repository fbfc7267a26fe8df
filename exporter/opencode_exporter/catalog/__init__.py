"""
The catalogue: every metric, declared once.

The pages, the OTLP names, METRICS.md and the tests follow from it.  A name here is a
promise to users; it is neither renamed nor dropped.
"""

from __future__ import annotations

from typing import Final

from opencode_exporter.catalog import edits, exporter, sessions, skills, source, tools

# One statement for each file of metrics:
# isort: off
from opencode_exporter.catalog.skills import (
    SKILL_INVOCATIONS as SKILL_INVOCATIONS,
    SKILL_USAGE as SKILL_USAGE,
    SKILL_DURATION as SKILL_DURATION,
    SKILL_ERRORS as SKILL_ERRORS,
    SKILL_SESSIONS as SKILL_SESSIONS,
    SKILL_RELOADS as SKILL_RELOADS,
    SKILL_CONTENT as SKILL_CONTENT,
    SKILL_FIRST_USED as SKILL_FIRST_USED,
    SKILL_LAST_USED as SKILL_LAST_USED,
    SKILL_INSTALLED as SKILL_INSTALLED,
    SKILL_TRANSITIONS as SKILL_TRANSITIONS,
    SKILL_NEXT_TOOL as SKILL_NEXT_TOOL,
    SKILL_RUNS as SKILL_RUNS,
    SKILL_RUN_DURATION as SKILL_RUN_DURATION,
    SKILL_RUN_INVOCATIONS as SKILL_RUN_INVOCATIONS,
    SKILL_RUN_RETRIES as SKILL_RUN_RETRIES,
    SKILL_RUN_TOKENS as SKILL_RUN_TOKENS,
    SKILL_RUN_COST as SKILL_RUN_COST,
)
from opencode_exporter.catalog.tools import (
    TOOL_INVOCATIONS as TOOL_INVOCATIONS,
    TOOL_USAGE as TOOL_USAGE,
    TOOL_DURATION as TOOL_DURATION,
    EXECUTE_TOOL as EXECUTE_TOOL,
    TOOL_WAIT as TOOL_WAIT,
    TOOL_ERRORS as TOOL_ERRORS,
    TOOL_IN_FLIGHT as TOOL_IN_FLIGHT,
    TOOL_OLDEST_START as TOOL_OLDEST_START,
    TOOL_OUTPUT as TOOL_OUTPUT,
    TOOL_TRUNCATED as TOOL_TRUNCATED,
    TOOL_INFO as TOOL_INFO,
    SHELL_EXITS as SHELL_EXITS,
    TOOL_RETRIES as TOOL_RETRIES,
)
from opencode_exporter.catalog.edits import (
    EDIT_ATTEMPTS as EDIT_ATTEMPTS,
    EDIT_TRIES as EDIT_TRIES,
    EDIT_ABANDONED as EDIT_ABANDONED,
    EDIT_LINES as EDIT_LINES,
    FILE_OPERATIONS as FILE_OPERATIONS,
    FILE_HOT_EDITS as FILE_HOT_EDITS,
)
from opencode_exporter.catalog.sessions import (
    SESSIONS as SESSIONS,
    SESSIONS_ACTIVE as SESSIONS_ACTIVE,
    SESSION_INVOCATIONS as SESSION_INVOCATIONS,
    TURNS as TURNS,
    TURN_DURATION as TURN_DURATION,
    MESSAGES as MESSAGES,
    SESSION_ERRORS as SESSION_ERRORS,
    COMPACTIONS as COMPACTIONS,
    STEPS as STEPS,
    STEP_DURATION as STEP_DURATION,
    MODEL_RESPONSE as MODEL_RESPONSE,
    MODEL_RETRIES as MODEL_RETRIES,
    TOKENS as TOKENS,
    COST as COST,
    TODOS as TODOS,
)
from opencode_exporter.catalog.source import (
    UP as UP,
    SOURCE_INFO as SOURCE_INFO,
    SOURCE_SUPPORTED as SOURCE_SUPPORTED,
    SOURCE_BYTES as SOURCE_BYTES,
    SOURCE_LAST_EVENT as SOURCE_LAST_EVENT,
)
from opencode_exporter.catalog.exporter import (
    BUILD_INFO as BUILD_INFO,
    START as START,
    BASELINE as BASELINE,
    CATCHING_UP as CATCHING_UP,
    POLLS as POLLS,
    POLL_DURATION as POLL_DURATION,
    LAST_POLL as LAST_POLL,
    ROWS_READ as ROWS_READ,
    ROWS_REJECTED as ROWS_REJECTED,
    COPIES_SKIPPED as COPIES_SKIPPED,
    LATE_ENDS as LATE_ENDS,
    LABEL_OVERFLOW as LABEL_OVERFLOW,
    HISTORY_PROGRESS as HISTORY_PROGRESS,
    LEDGER_BYTES as LEDGER_BYTES,
    UNATTRIBUTED as UNATTRIBUTED,
    OTLP_EXPORTS as OTLP_EXPORTS,
    OTLP_SPANS as OTLP_SPANS,
)
from opencode_exporter.catalog.metric import DURATION_BUCKETS as DURATION_BUCKETS, Metric as Metric

# isort: on

METRICS: Final = (
    *skills.METRICS,
    *tools.METRICS,
    *edits.METRICS,
    *sessions.METRICS,
    *source.METRICS,
    *exporter.METRICS,
)
"""All of them, group by group."""
ON_PAGE: Final = tuple(metric for metric in METRICS if not metric.only_otlp)
"""Those that Prometheus scrapes."""
BY_NAME: Final = {metric.name: metric for metric in METRICS}
