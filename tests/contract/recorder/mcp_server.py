"""
A tiny MCP server over stdio: one tool that answers, one that fails.

OpenCode starts a copy of this file, so it stands alone on the standard library.
"""

import json
import sys
from typing import Any

_TOOLS = [
    {
        "name": name,
        "description": text,
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
    }
    for name, text in (("echo", "Answer with the text"), ("broken", "Always fail"))
]


def reply(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the result for a request."""
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-03-26"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "demo", "version": "1.0.0"},
        }
    if method == "tools/list":
        return {"tools": _TOOLS}
    if method == "tools/call":
        text = str(params.get("arguments", {}).get("text", ""))
        failed = params["name"] == "broken"
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return {}


def main() -> None:
    """Answer requests, one line each, until the client hangs up."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            result = reply(request["method"], request.get("params") or {})
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
