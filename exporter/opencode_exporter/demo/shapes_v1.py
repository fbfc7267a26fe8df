"""
The JSON of a tool part as OpenCode 1.18.33 writes it.

Pure: a call and its times become the value of ``part.data``.  Keys, titles and
error texts are those of recorded rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from opencode_exporter.demo import world
from opencode_exporter.demo.plan import Call, Fault

_NAMES: Final = {"shell": "bash", "subagent": "task", "patch": "apply_patch"}
_ERRORS: Final = {
    Fault.MISSING_SKILL: 'Skill "{target}" not found. Available skills: {known}',
    Fault.RIPGREP: "ripgrep execution failed",
    Fault.NETWORK: "Transport error",
    Fault.DENIED: (
        "The user has specified a rule which prevents you from using this specific tool call. "
        "Here are some of the relevant rules "
        '[{{"permission":"*","action":"allow","pattern":"*"}}]'
    ),
    Fault.DECLINED: "The user rejected permission to use this specific tool call.",
    Fault.INTERRUPTED: "Tool execution aborted",
    Fault.MISMATCH: (
        "Could not find oldString in the file. It must match exactly, including whitespace, "
        "indentation, and line endings."
    ),
    Fault.NO_FILE: "File not found: {target}",
    Fault.ARGUMENTS: (
        "The {tool} tool was called with invalid arguments: SchemaError(Missing key\n"
        '  at ["{key}"]).\nPlease rewrite the input so it satisfies the expected schema.'
    ),
    Fault.SERVER: "{output}",
}
_AVAILABLE: Final = "bash, edit, glob, grep, invalid, read, skill, task, todowrite, webfetch, write"
_REQUIRED: Final = {"bash": "command", "grep": "pattern"}


def name_of(call: Call) -> str:
    """Return the tool's name in 1.x; a tool that does not exist is ``invalid``."""
    if call.fault is Fault.NO_TOOL:
        return "invalid"
    if call.tool == "mcp":
        return f"{call.facts['server']}_{call.facts['name']}"
    return _NAMES.get(call.tool, call.tool)


def part(call: Call, call_id: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a tool part in the given state."""
    return {"type": "tool", "tool": name_of(call), "callID": call_id, "state": state}


def pending() -> dict[str, Any]:
    """Return the state of a call whose arguments are still arriving."""
    return {"status": "pending", "input": {}, "raw": ""}


def running(call: Call, start: int, output: str | None = None, child: str = "") -> dict[str, Any]:
    """Return the state of a call that runs; a command shows its output so far."""
    state: dict[str, Any] = {"status": "running", "input": _input(call), "time": {"start": start}}
    if call.tool == "shell" and output is not None:
        return {"metadata": {"output": output}, **state}
    if call.tool == "subagent":
        state["title"] = call.input["description"]
        state["metadata"] = {"sessionId": child}
    return state


def ended(call: Call, start: int, end: int, *, origin: str = "", child: str = "") -> dict[str, Any]:
    """Return the last state of a call: completed or error."""
    time = {"start": start, "end": end}
    if call.fault is not None and call.fault is not Fault.NO_TOOL:
        return {"status": "error", "input": _input(call), "error": _error(call), "time": time}
    title, output, metadata = _result(call, origin, child)
    return {
        "status": "completed",
        "input": _input(call),
        "output": output,
        "metadata": metadata,
        "title": title,
        "time": time,
    }


def _input(call: Call) -> dict[str, Any]:
    given = dict(call.input)
    if call.fault is Fault.NO_TOOL:
        return {"tool": call.tool, "error": _unavailable(call)}
    if call.fault is Fault.ARGUMENTS:
        return given
    match call.tool:
        case "read" | "edit" | "write":
            given = {"filePath": given.pop("path"), **given}
        case "skill":
            given = {"name": given["id"]}
        case "shell":
            given["description"] = "Run a command"
        case "subagent":
            given = {"subagent_type": given.pop("agent"), **given}
        case "todowrite":
            todos = [{"id": str(i), **todo} for i, todo in enumerate(given["todos"])]
            given = {"todos": todos}
    return given


def _unavailable(call: Call) -> str:
    return f"Model tried to call unavailable tool '{call.tool}'. Available tools: {_AVAILABLE}."


def _error(call: Call) -> str:
    name = name_of(call)
    return _ERRORS[call.fault or Fault.SERVER].format(
        target=call.input.get("path") or call.input.get("id"),
        known=", ".join(sorted(skill.name for skill in world.SKILLS)),
        tool=name,
        key=_REQUIRED.get(name, "filePath"),
        output=call.output,
    )


def _result(call: Call, origin: str, child: str) -> tuple[str, str, dict[str, Any]]:
    """Return title, output and metadata of a call that completed."""
    given, facts = call.input, call.facts
    if call.tool in _RESULTS:
        return _RESULTS[call.tool](call)
    title, output, metadata = "", call.output, dict[str, Any]()
    if call.fault is Fault.NO_TOOL:
        title = "Invalid Tool"
        output = f"The arguments provided to the tool are invalid: {_unavailable(call)}"
    elif call.tool == "grep":
        title, metadata = given["pattern"], {"matches": facts["matches"]}
        output = f"Found {facts['matches']} matches\n{output}"
    elif call.tool == "glob":
        metadata = {"count": facts["count"]}
    elif call.tool == "webfetch":
        title = f"{given['url']} (text/html)"
    elif call.tool == "subagent":
        title, metadata = given["description"], {"parentSessionId": origin, "sessionId": child}
        if call.child is not None:
            model = call.child.model
            metadata["model"] = {"modelID": model.name, "providerID": model.provider}
        output = (
            f'<task id="{child}" state="completed">\n<task_result>\nDone.\n</task_result>\n</task>'
        )
    return title, output, {**metadata, "truncated": facts.get("truncated", False)}


def _skill(call: Call) -> tuple[str, str, dict[str, Any]]:
    name = call.input["id"]
    folder = f"{world.HOME}/.config/opencode/skills/{name}"
    text = (
        f'<skill_content name="{name}">\n# Skill: {name}\n\n{call.output}\n\n'
        f"Base directory for this skill: {folder}\n</skill_content>"
    )
    return f"Loaded skill: {name}", text, {"name": name, "dir": folder, "truncated": False}


def _todos(call: Call) -> tuple[str, str, dict[str, Any]]:
    todos = call.input["todos"]
    left = sum(todo["status"] != "completed" for todo in todos)
    return f"{left} todos", json.dumps(todos, indent=2), {"todos": todos, "truncated": False}


def _read(call: Call) -> tuple[str, str, dict[str, Any]]:
    path = call.input["path"]
    text = f"<path>{path}</path>\n<type>file</type>\n<content>\n{call.output}\n</content>"
    metadata = {
        "preview": call.output[:400],
        "truncated": call.facts["truncated"],
        "loaded": list[str](),
    }
    return path.rpartition("/")[2], text, metadata


def _command(call: Call) -> tuple[str, str, dict[str, Any]]:
    text = call.output or "(no output)"
    if call.facts.get("timeout"):
        text += (
            "\n\n<shell_metadata>\nshell tool terminated command after exceeding timeout "
            f"{call.input['timeout']} ms.\n</shell_metadata>"
        )
    metadata = {
        # OpenCode keeps at most about 30 000 characters of it a second time.
        "output": text[:28_000],
        "exit": call.facts.get("exit"),
        "truncated": call.facts.get("truncated", False),
    }
    if metadata["truncated"]:
        metadata["outputPath"] = f"{world.HOME}/.local/share/opencode/tool-output/tool_demo"
        text = f"...output truncated...\n\nFull output saved to: {metadata['outputPath']}\n\n{text}"
    return call.input["command"], text, metadata


def _changed(call: Call) -> tuple[str, str, dict[str, Any]]:
    given, facts = call.input, call.facts
    base: dict[str, Any] = {"diagnostics": {}}
    if call.tool == "patch":
        files = [
            {
                "filePath": each["path"],
                "relativePath": each["path"].rpartition("/")[2],
                "type": "update",
                "patch": _diff(each["path"], ""),
                "additions": each["additions"],
                "deletions": each["deletions"],
            }
            for each in facts["files"]
        ]
        names = "\n".join(f"M {each['relativePath']}" for each in files)
        text = f"Success. Updated the following files:\n{names}"
        return text, text, {"diff": "", "files": files, **base, "truncated": False}
    path = given["path"]
    title = path.rpartition("/")[2]
    if call.tool == "write":
        metadata = {**base, "filepath": path, "exists": not facts["created"], "truncated": False}
        return title, "Wrote file successfully.", metadata
    diff = _diff(path, given["newString"])
    filediff = {
        "file": path,
        "patch": diff,
        "additions": facts["additions"],
        "deletions": facts["deletions"],
    }
    metadata = {**base, "diff": diff, "filediff": filediff, "truncated": False}
    return title, "Edit applied successfully.", metadata


def _diff(path: str, text: str) -> str:
    return f"Index: {path}\n{'=' * 67}\n--- {path}\n+++ {path}\n@@ -1,2 +1,3 @@\n+{text}\n"


_RESULTS: Final[dict[str, Callable[[Call], tuple[str, str, dict[str, Any]]]]] = {
    "skill": _skill,
    "shell": _command,
    "read": _read,
    "todowrite": _todos,
    "edit": _changed,
    "write": _changed,
    "patch": _changed,
}
