"""Tools of OpenCode itself, as the metrics contract names and groups them."""

from __future__ import annotations

_LONGEST = 256
_RENAMED = {"bash": "shell", "task": "subagent", "apply_patch": "patch"}
_BUILT_IN = {
    "skill": "skill",
    "shell": "shell",
    "read": "read list lsp",
    "edit": "edit write multiedit patch",
    "search": "glob grep codesearch",
    "web": "webfetch websearch",
    "agent": "subagent",
    "todo": "todowrite todoread",
    "other": "question batch execute plan_enter plan_exit",
}
CATEGORIES = {tool: category for category, tools in _BUILT_IN.items() for tool in tools.split()}
"""Category of each tool that is built in."""


def canonical(tool: str) -> str:
    """
    Return the one name of a tool.

    "Built-ins carry their 2.x name whichever generation wrote them: `bash`→`shell`,
    `task`→`subagent`, `apply_patch`→`patch`.  Others keep the source's name": choice: of a
    name without end its first characters.
    """
    return _RENAMED.get(tool, tool)[:_LONGEST]
