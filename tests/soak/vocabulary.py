"""
What the writers' model calls: tools, skills, and how calls end.

Pure.  Says for each end what a reader has to make of it.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final, NamedTuple

_NOT_BUILT_IN: Final = "github_search"
SKILLS: Final = ("commit-style", "release-notes", "test-triage", "query-tuning", "deploy-list")
UNKNOWN: Final = "_unknown"
NO_SKILL: Final = "no-such-skill"
TYPED: Final = "01JD5N1XZ"
"""How the call ids of the user's own commands begin."""
# 1.x name, 2.x name, weight
TOOLS: Final = (
    ("read", "read", 20),
    ("bash", "shell", 16),
    ("edit", "edit", 10),
    ("write", "write", 4),
    ("grep", "grep", 8),
    ("glob", "glob", 5),
    ("webfetch", "webfetch", 2),
    ("task", "subagent", 3),
    ("apply_patch", "patch", 3),
    (_NOT_BUILT_IN, _NOT_BUILT_IN, 4),
    ("skill", "skill", 14),
)
CANONICAL: Final = {old: new for old, new, _ in TOOLS}


class Ending(NamedTuple):
    """How a call ends, in the words of 1.x and of 2.x."""

    verdict: str
    old: str = ""
    new: str = ""
    kind: str = "tool.execution"  # the error's type; only 2.x has one


COMPLETED: Final = Ending("completed")
_ENDINGS: Final = (
    (COMPLETED, 70),
    (Ending("error", "it failed", "it failed"), 12),
    (Ending("error", "Could not find oldString", "Transport error", "unknown"), 4),
    (
        Ending(
            "denied",
            "The user rejected permission to use this specific tool call.",
            "The user declined this tool call",
            "aborted",
        ),
        5,
    ),
    (Ending("aborted", "Tool execution aborted", "Tool execution aborted", "aborted"), 5),
)
ORPHANED: Final = Ending("abandoned", "", "Tool execution interrupted: its process died", "aborted")
"""What 2.x writes when it finds, on resuming a session, a call whose process died."""
NO_SUCH_SKILL: Final = Ending(
    "error", f'Skill "{NO_SKILL}" not found.', f"Unable to load skill {NO_SKILL}"
)


def tool(rng: Random) -> tuple[str, str]:
    """Return a tool's names in both generations."""
    old, new, _ = rng.choices(TOOLS, [weight for *_, weight in TOOLS])[0]
    return old, new


def ending(rng: Random, tool: str, skill: str) -> Ending:
    """Return how a call ends, which loads that skill, if any."""
    if skill == NO_SKILL:
        return NO_SUCH_SKILL
    found = rng.choices([end for end, _ in _ENDINGS], [weight for _, weight in _ENDINGS])[0]
    # Of a tool that is not built in and that nobody has seen, that would say nothing.
    return COMPLETED if found.verdict == "aborted" and tool == _NOT_BUILT_IN else found


def skill(rng: Random) -> str:
    """Return the name of a skill; now and then of one that nobody has."""
    return rng.choice((*SKILLS * 3, NO_SKILL))


def shown(name: str) -> str:
    """Return the name under which a skill is counted."""
    return name if name in SKILLS else UNKNOWN


def told(tool: str, status: str) -> tuple[str, str]:
    """Return tool and status of a call as far as they are certain."""
    # A call that never ran says nothing of whether there is such a tool: unless another
    # one has worked before, the name of one that is not built in is no label.
    return (UNKNOWN if (tool, status) == (_NOT_BUILT_IN, "abandoned") else tool), status


def output(rng: Random) -> str:
    """Return what a tool says: mostly little."""
    return "x" * rng.choice((2, 20, 200, 1000, 4000, 35_000 if rng.random() < 0.1 else 100))


def facts_of_end(loaded: str) -> dict[str, Any]:
    """Return metadata of a completed call, which loaded that skill, if any."""
    if loaded:
        return {"name": loaded, "dir": f"/skills/{loaded}", "truncated": False}
    return {"truncated": False, "exit": 0}
