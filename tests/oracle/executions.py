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

from oracle.model import Call, Moment
from oracle.reading import read
from oracle.totals import Labels

_EDGES_MS = (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 20_480, 40_960, 81_920)


def executions(*paths: Path) -> dict[Labels, list[int]]:
    """
    Return the histograms that a ledger must hold for databases at rest.

    Choice: the agent is that of the step that made the call.

    Args:
        paths: The databases; nobody writes to them.

    Returns:
        By tool, agent and class of error: calls per bucket, those beyond the last
        edge, and the sum in milliseconds.
    """
    found: dict[Labels, list[int]] = defaultdict(lambda: [0] * (len(_EDGES_MS) + 2))
    for session in read(*paths):
        for step in session.steps:
            for call in step.calls:
                if (took := _duration(call)) is not None:
                    cells = found[call.tool, step.agent, _error(call)]
                    cells[bisect_left(_EDGES_MS, took)] += 1
                    cells[-1] += took
    return dict(found)


def _duration(call: Call) -> Moment:
    """
    Return how long a call took, in ms.

    "v1 `end - start`; v2 `completed - ran`; calls imported into v2 have no `ran`:
    `completed - created`.  Histograms carry `completed` and `error` only."
    """
    began = call.started if call.ran is None else call.ran
    if call.status not in ("completed", "error") or began is None or call.ended is None:
        return None
    return call.ended - began if call.ended >= began else None


def _error(call: Call) -> str:
    if call.status != "error":
        return ""
    return "_OTHER" if call.reason == "other" else call.reason
