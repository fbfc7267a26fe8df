"""
Vocabulary: tools, reasons and skills by the names that the metrics have for them.

What a client calls them is known to its decoder alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

CATEGORIES: Final = {
    "skill": "skill",
    "shell": "shell",
    "read": "read",
    "list": "read",
    "lsp": "read",
    "edit": "edit",
    "multiedit": "edit",
    "patch": "edit",
    "write": "edit",
    "glob": "search",
    "grep": "search",
    "codesearch": "search",
    "webfetch": "web",
    "websearch": "web",
    "subagent": "agent",
    "todoread": "todo",
    "todowrite": "todo",
    "question": "other",
    "batch": "other",
    "execute": "other",
    "plan_enter": "other",
    "plan_exit": "other",
}
"""The built-in tools of both generations, by canonical name."""

_BY_PROVIDERS: Final = {"web_search": "web", "web_fetch": "web", "google_search": "web"}
"""Tools that providers run themselves; those that are not here are of no category."""

SKILL_TOOL: Final = "skill"
SHELL_TOOL: Final = "shell"
AGENT_TOOL: Final = "subagent"
DEEPEST: Final = 100
"""Sub-agents of sub-agents that are followed: a damaged source may go round in circles."""

REASONS: Final = (
    "not_found",
    "invalid_arguments",
    "timeout",
    "network",
    "edit_mismatch",
    "file_access",
    "missing_dependency",
    "other",
)


def category_of(tool: str) -> str:
    """Return the category of a tool, ``other`` for those that are of none."""
    return CATEGORIES.get(tool) or _BY_PROVIDERS.get(tool, "other")


def is_edit(tool: str) -> bool:
    """Return whether a tool changes files."""
    return CATEGORIES.get(tool) == "edit"


Scope = Literal["project", "user", "builtin"]


@dataclass(frozen=True)
class InstalledSkill:
    """A skill that OpenCode can load, and whose it is."""

    name: str
    scope: Scope


BUILT_IN: Final = frozenset({InstalledSkill("customize-opencode", "builtin")})
