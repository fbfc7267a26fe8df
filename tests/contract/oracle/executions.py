"""
Executions: how long calls took, by tool, agent and class of error.

What the GenAI conventions call ``gen_ai.execute_tool.duration``: "recommended for
instrumentations that can observe tool executions", with fourteen edges from 0.01 to
81.92 seconds, an ``error.type`` "if the operation ended in an error", and the word
``_OTHER`` for an error that belongs to no class.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from pathlib import Path

from contract.oracle.model import LATER_MS, Call, Moment, Row, Session, took
from contract.oracle.reading import read
from contract.oracle.totals import Labels

_EDGES_MS = (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 20_480, 40_960, 81_920)


_MINUTE_MS = 60_000


def executions(*paths: Path, now: int = LATER_MS) -> dict[Labels, list[int]]:
    """
    Return the histograms that a ledger must hold for databases at rest.

    Choice: the agent is that of the step that made the call.

    Args:
        paths: The databases; nobody writes to them.
        now: When they are read, Unix ms.

    Returns:
        By tool, agent and class of error: calls per bucket, those beyond the last
        edge, and the sum in milliseconds.
    """
    found: dict[Labels, list[int]] = defaultdict(lambda: [0] * (len(_EDGES_MS) + 2))
    for session in read(*paths, now=now):
        for step in session.steps:
            for call in step.calls:
                if (lasted := duration(session, step, call)) is not None:
                    cells = found[call.tool, step.agent, _error(call)]
                    cells[bisect_left(_EDGES_MS, lasted)] += 1
                    cells[-1] += lasted
    return dict(found)


def duration(session: Session, step: Row, call: Call) -> Moment:
    """
    Return how long a call took, in ms.

    "v1 `end - start`; v2 `completed - ran`; calls imported into v2 have no `ran`:
    `completed - created`.  Never longer than from its start to now.  Histograms carry
    `completed` and `error` only."  Choice: a start of more than a minute before the
    message that holds the call was created is of another clock, and tells nothing.
    """
    began = call.started if call.ran is None else call.ran
    if call.status not in ("completed", "error") or began is None:
        return None
    return None if began < step.created - _MINUTE_MS else took(began, call.ended, session.now)


def _error(call: Call) -> str:
    if call.status != "error":
        return ""
    return "_OTHER" if call.reason == "other" else call.reason
