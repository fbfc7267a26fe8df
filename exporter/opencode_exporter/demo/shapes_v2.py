"""
The JSON of a tool item as OpenCode 2.0.15 writes it.

Pure: a call and its times become one item of ``data.content``.  Keys and error
texts are those of recorded rows.
"""

from __future__ import annotations

import json
from typing import Any, Final

from opencode_exporter.demo import world
from opencode_exporter.demo.plan import Call, Fault
from opencode_exporter.demo.rows import CallRow

_ERRORS: Final = {
    Fault.MISSING_SKILL: ("tool.execution", "Unable to load skill {target}"),
    Fault.RIPGREP: ("tool.execution", "ripgrep execution failed"),
    Fault.NETWORK: ("tool.execution", "Transport error"),
    Fault.DENIED: ("permission.rejected", "Permission denied: {tool}"),
    Fault.DECLINED: ("aborted", "The user declined this tool call"),
    Fault.INTERRUPTED: ("aborted", "Tool execution interrupted"),
    Fault.KILLED: ("aborted", "Tool execution interrupted: {tool}"),
    Fault.MISMATCH: (
        "tool.execution",
        (
            "Could not find oldString in {target}. "
            "It must match exactly, including whitespace and indentation."
        ),
    ),
    Fault.NO_FILE: ("tool.execution", "File not found: {target}"),
    Fault.NO_TOOL: (
        "tool.execution",
        (
            'No tool named "{tool}" is currently available. '
            "Please use a tool from the available tool list."
        ),
    ),
    Fault.ARGUMENTS: (
        "tool.execution",
        (
            'Invalid arguments for tool "{tool}":\n- {key}: Missing key\n\n'
            "Arguments provided:\n{{}}\n\nUpdate the arguments and call the tool again."
        ),
    ),
}
_REQUIRED: Final = {"shell": "command", "grep": "pattern"}


def name_of(call: Call) -> str:
    """Return the tool's name in 2.x; calls to MCP servers run inside ``execute``."""
    return "execute" if call.tool == "mcp" else call.tool


def item(made: CallRow) -> dict[str, Any]:
    """Return the item of a call in the state it is in."""
    call = made.call
    time = {"created": made.created}
    if made.ran:
        time["ran"] = made.ran
    if made.ended:
        time["completed"] = made.ended
    return {
        "type": "tool",
        "id": made.id,
        "name": name_of(call),
        "executed": False,
        "state": _state(made, call),
        "time": time,
    }


def status_of(call: Call) -> str:
    """Return the status of a call that has ended."""
    failed = call.fault is not None and call.tool != "mcp"
    return "error" if failed else "completed"


def _state(made: CallRow, call: Call) -> dict[str, Any]:
    if made.status == "streaming":
        return {"status": "streaming", "input": json.dumps(_input(call))[:40]}
    if made.status == "running":
        metadata = {"sessionID": made.child} if made.child else {}
        return {"status": "running", "input": _input(call), "metadata": metadata}
    if made.status == "error":
        kind, message = _error(call)
        error = {"type": kind, "message": message}
        return {"status": "error", "input": _input(call), "error": error}
    texts, metadata = _result(call, made.child)
    return {
        "status": "completed",
        "input": _input(call),
        "content": [{"type": "text", "text": text} for text in texts],
        "metadata": metadata,
    }


def _input(call: Call) -> dict[str, Any]:
    if call.tool == "mcp":
        return {"code": f"return await tools.{_mcp_name(call)}({json.dumps(call.input)})"}
    return call.input


def _mcp_name(call: Call) -> str:
    return f"{call.facts['server']}.{call.facts['name']}"


def _error(call: Call) -> tuple[str, str]:
    """Return type and message of a call's error."""
    kind, message = _ERRORS[call.fault or Fault.NETWORK]
    target = call.input.get("path") or call.input.get("id")
    key = _REQUIRED.get(call.tool, "path")
    return kind, message.format(tool=call.tool, target=target, key=key)


def skill_text(name: str, body: str) -> str:
    """Return what a loaded skill puts into the context."""
    folder = f"{world.HOME}/.config/opencode/skills/{name}"
    return (
        f'<skill_content name="{name}">\n# Skill: {name}\n\n{body}\n\n'
        f"Base directory for this skill: {folder}\n</skill_content>"
    )


def _result(call: Call, child: str) -> tuple[list[str], dict[str, Any]]:
    """Return the texts and the metadata of a call that completed."""
    given, facts = call.input, call.facts
    if call.tool == "shell":
        return _command(call)
    if call.tool in {"edit", "write", "patch"}:
        return _changed(call)
    told, metadata = call.output, dict[str, Any]()
    match call.tool:
        case "skill":
            folder = f"{world.HOME}/.config/opencode/skills/{given['id']}"
            told = skill_text(given["id"], told)
            metadata = {"name": given["id"], "directory": folder}
        case "read":
            told = f"Read file {given['path']}\n{told}"
        case "grep":
            told = f"Found {facts['matches']} matches\n{told}"
            metadata = {"matches": facts["matches"]}
        case "glob":
            metadata = {"count": facts["count"]}
        case "subagent":
            told = f'<subagent sessionID="{child}" state="completed">\nDone.\n</subagent>'
            metadata = {"sessionID": child, "status": "completed"}
        case "mcp":
            status = "error" if call.fault else "completed"
            inner = {"tool": _mcp_name(call), "status": status, "input": given}
            metadata = {"toolCalls": [inner], **({"error": True} if call.fault else {})}
    return [told], {**metadata, "truncated": facts.get("truncated", False)}


def _command(call: Call) -> tuple[list[str], dict[str, Any]]:
    metadata: dict[str, Any] = {
        "status": "completed",
        "truncated": call.facts.get("truncated", False),
    }
    if call.facts.get("timeout"):
        text = f"\n\nCommand exceeded timeout of {call.input['timeout']} ms."
        return [call.output + text, "Timed out before completion"], {**metadata, "timeout": True}
    code = call.facts["exit"]
    told = [f"Exited with code {code}"] if code else []
    return [call.output, *told], {**metadata, "exit": code}


def _changed(call: Call) -> tuple[list[str], dict[str, Any]]:
    if call.tool == "write":
        did = "Created" if call.facts["created"] else "Wrote"
        name = call.input["path"].rpartition("/")[2]
        return [f"{did} file successfully: {name}"], {"truncated": False}
    changes = call.facts["files"] if call.tool == "patch" else [{**call.input, **call.facts}]
    files = [
        {
            "file": change["path"].rpartition("/src/")[2],
            "patch": f"--- {change['path']}\n+++ {change['path']}\n@@ -1,2 +1,3 @@\n",
            "status": "modified",
            "additions": change["additions"],
            "deletions": change["deletions"],
        }
        for change in changes
    ]
    names = [file["file"] for file in files]
    if call.tool == "edit":
        told = f"Edited {names[0]} (1 replacement)"
    else:
        told = "Success. Updated the following files:\n" + "\n".join(f"M {name}" for name in names)
    return [told], {"files": files, "truncated": False}
