"""
Labels: what each means, and its values where they are a fixed set.

The documents are made from it; a test holds that these values are those of the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from opencode_exporter import events
from opencode_exporter.catalog import vocabulary


class Label(NamedTuple):
    """
    One label.

    ``values`` are those of a fixed set, each with its meaning; ``open_values`` says
    what they are where the source decides.
    """

    meaning: str
    values: Mapping[str, str] = {}
    open_values: str = ""


def _categories() -> dict[str, str]:
    """Return the categories of tools, each with its built-in tools."""
    found: dict[str, list[str]] = {}
    for tool, category in vocabulary.CATEGORIES.items():
        found.setdefault(category, []).append(f"`{tool}`")
    meanings = {name: ", ".join(tools) for name, tools in found.items() if name != "other"}
    meanings["mcp"] = "tools of the MCP servers in OpenCode's configuration"
    return meanings | {"other": ", ".join(found["other"]) + "; plugins and custom tools"}


TABLES: Final = ("message", "part", "session", "session_message", "session_v2")
_SKILL: Final = "that is installed or has been loaded; `_unknown` for any other that was asked for"

_NAMES: Final = {
    "skill": Label("the skill", open_values=f"the name of a skill {_SKILL}"),
    "from_skill": Label("the skill loaded first", open_values=f"a skill {_SKILL}"),
    "to_skill": Label("the skill loaded next", open_values=f"a skill {_SKILL}"),
    "tool": Label(
        "the tool",
        open_values="OpenCode's name of it, for built-ins that of 2.x (`shell`, `subagent`, "
        "`patch`); `_unknown` for a tool that does not exist",
    ),
    "server": Label(
        "the MCP server that the tool belongs to", open_values="a server's name, or empty"
    ),
    "program": Label(
        "the program of a shell command",
        open_values="a program of the exporter's list; `_other` for all else",
    ),
    "agent": Label("OpenCode's agent", open_values="`build`, `plan`, `general`, ..."),
    "project": Label(
        "the project",
        open_values="the last component of the worktree, `global` for none; a hash or nothing "
        "with `--labels.project`",
    ),
    "provider": Label("the provider of the model", open_values="as OpenCode names it"),
    "model": Label("the model", open_values="as OpenCode names it"),
    "language": Label(
        "the language of a file",
        open_values="by the ending of its name: `python`, `go`, `markdown`, ...; `other`",
    ),
    "path": Label("a file", open_values="its path, relative to the worktree (opt-in)"),
    "finish": Label(
        "why the model's step finished",
        open_values="the source's own word: `stop`, `tool-calls`, `length`, `content-filter`, "
        "`error`, ...",
    ),
    "error": Label(
        "the name of the error of a step",
        open_values="the source's own word: `APIError`, `ProviderAuthError`, "
        "`MessageAbortedError`, ...",
    ),
}
_ENDS: Final = {
    "status": Label(
        "how an invocation ended",
        {
            events.COMPLETED: "it ended well",
            events.ERROR: "the call failed",
            events.DENIED: "a rule or the user refused it",
            events.ABORTED: "the user interrupted it",
            events.ABANDONED: "it never ended: its process died",
        },
    ),
    "reason": Label(
        "why an invocation failed",
        {
            "not_found": "the skill, tool or file does not exist",
            "invalid_arguments": "the model's call was malformed",
            "timeout": "it took too long",
            "network": "a connection failed",
            "edit_mismatch": "the text to replace was not there, or there twice",
            "file_access": "the file system refused",
            "missing_dependency": "a program that OpenCode needs is not installed",
            "other": "anything else",
        },
    ),
    "exit": Label(
        "how a shell command ended",
        {
            "zero": "exit code 0",
            "nonzero": "another exit code",
            "timeout": "it was stopped after its timeout",
            "killed": "it ended without an exit code",
            "unknown": "the source does not say",
        },
    ),
    "outcome": Label(
        "how a turn or a skill run ended",
        {
            events.SUCCEEDED: "the model came to its end",
            events.FAILED: "an error, or the model was cut off",
            events.INTERRUPTED: "the user stopped or refused it",
            events.ABANDONED: "it never ended: its process died",
        },
    ),
}
_KINDS: Final = {
    "trigger": Label(
        "who asked for a skill",
        {
            events.MODEL: "the model called the tool `skill`",
            events.USER: "a slash command or a mention (2.x records them, 1.x does not)",
        },
    ),
    "category": Label("what kind of tool it is", _categories()),
    "scope": Label(
        "whose a skill is",
        {
            "project": "below a project's directory",
            "user": "below the user's home or configuration",
            "builtin": "comes with OpenCode",
        },
    ),
    "change": Label(
        "what became of a line",
        {"added": "it is new, or the new form of one", "removed": "it is gone, or the old form"},
    ),
    "operation": Label(
        "what was done to a file",
        {
            "read": "the tool `read` showed it",
            "edited": "its content was changed",
            "created": "it was not there before",
            "deleted": "it is gone",
            "moved": "it has another name",
        },
    ),
    "session_kind": Label(
        "where a session comes from",
        {
            "root": "the user began it",
            "subagent": "a tool call of another session began it",
            "fork": "it began as a copy of another",
        },
    ),
    "role": Label(
        "who wrote a message",
        {"user": "a human, or OpenCode in their name", "assistant": "the model: one step of it"},
    ),
    "mode": Label(
        "what began a compaction",
        {"auto": "the context was full", "manual": "the user asked for it"},
    ),
    "token_type": Label(
        "what a token was; they do not overlap",
        {
            "input": "read, and not from a cache",
            "output": "written, without reasoning",
            "reasoning": "written while thinking",
            "cache_read": "read from the provider's cache",
            "cache_write": "read, and put into the cache",
        },
    ),
    "todo_status": Label(
        "how far an item is",
        {
            "pending": "not begun",
            "in_progress": "being worked on",
            "completed": "done",
            "cancelled": "given up",
            "_other": "a word that the exporter does not know",
        },
    ),
}
_OURS: Final = {
    "source": Label(
        "the database",
        open_values="its file name, `~2` and so on if it repeats; `_other` from the 49th on",
    ),
    "generation": Label(
        "how the database keeps messages", {"v1": "OpenCode 1.x", "v2": "OpenCode 2.x"}
    ),
    "opencode_version": Label(
        "the version that wrote the newest session", open_values="as OpenCode records it"
    ),
    "part": Label(
        "which of the database's files", {"main": "the database", "wal": "its write-ahead log"}
    ),
    "result": Label(
        "how a poll, a push or a span ended",
        {
            "ok": "all was read, or taken",
            "error": "see the log",
            "dropped": "a span for which there was no room",
        },
    ),
    "table": Label("the table of rows", open_values=f"`{'`, `'.join(TABLES)}`"),
    "cause": Label(
        "why an event was skipped or a row set aside",
        {
            "fork": "copied with its session",
            "upgrade": "imported from 1.x by 2.x",
            "json": "the row's data is not JSON",
            "shape": "it is JSON of another shape",
            "state": "a call without a usable state",
            "status": "a call with a status that is not known",
            "time": "a time is missing, or cannot be one",
            "role": "a message of nobody known",
            "tool_name": "a call without a tool",
            "call_id": "a call without an id",
            "size": "what is wanted of the row is too much",
            "damaged": "its page of the file is damaged",
        },
    ),
    "metric": Label("the metric that overflowed", open_values="its name"),
    "version": Label("the exporter's version", open_values="such as `1.0.0`"),
    "python": Label("Python's version", open_values="such as `3.12.4`"),
    "sqlite": Label("SQLite's version", open_values="such as `3.50.1`"),
}
LABELS: Final[Mapping[str, Label]] = _NAMES | _ENDS | _KINDS | _OURS
"""Every label of every metric."""
