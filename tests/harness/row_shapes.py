"""
The JSON of tool calls as OpenCode writes it, both generations, odd on demand.

Pure.  Every fact may be replaced by something that OpenCode would never write.
"""

from __future__ import annotations

from typing import Any, Final

AUTO: Final[Any] = object()
"""The value that OpenCode would write; None leaves a time out."""
RUN_MS: Final = 500
"""How long a call runs whose times are not given."""
WAIT_MS: Final = 5
"""How long a v2 call waits before it runs."""
_OPEN: Final = ("pending", "streaming", "running")


def _times(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def tool_part(
    *,
    call: Any = "call_1",
    tool: Any = "read",
    status: Any = "completed",
    start: Any = AUTO,
    end: Any = AUTO,
    input: Any = AUTO,  # noqa: A002  # OpenCode's name
    output: Any = "ok",
    metadata: Any = AUTO,
    error: Any = "it failed",
    now: int,
) -> dict[str, Any]:
    """Return the data of a v1 tool part that is written ``now``."""
    if start is AUTO:
        start = None if status == "pending" else now
    if end is AUTO:
        end = start + RUN_MS if status not in _OPEN and isinstance(start, int) else None
    state: dict[str, Any] = {"status": status, "input": {"filePath": "a.py"}}
    if status == "pending":
        state |= {"input": {}, "raw": ""}
    elif status == "error":
        state["error"] = error
    elif status != "running":
        state |= {"output": output, "title": "", "metadata": {"truncated": False}}
    if input is not AUTO:
        state["input"] = input
    if metadata is not AUTO:
        state["metadata"] = metadata
    if times := _times(start=start, end=end):
        state["time"] = times
    return {"type": "tool", "tool": tool, "callID": call, "state": state}


def call(
    id: Any = "call_1",  # noqa: A002  # OpenCode's name
    name: Any = "read",
    status: Any = "completed",
    *,
    input: Any = AUTO,  # noqa: A002  # OpenCode's name
    output: Any = "ok",
    metadata: Any = AUTO,
    error: Any = AUTO,
    created: Any = AUTO,
    ran: Any = AUTO,
    completed: Any = AUTO,
) -> dict[str, Any]:
    """Return a tool item of a v2 assistant's content; `timed` fills in its times."""
    state: dict[str, Any] = {"status": status, "input": {"path": "a.py"}}
    if status == "streaming":
        state["input"] = ""
    elif status == "error":
        state["error"] = {"type": "tool.execution", "message": "it failed"}
    elif status == "completed":
        state |= {"content": [{"type": "text", "text": output}], "metadata": {"truncated": False}}
    for key, value in (("input", input), ("metadata", metadata), ("error", error)):
        if value is not AUTO:
            state[key] = value
    times = {"created": created, "ran": ran, "completed": completed}
    return {
        "type": "tool",
        "id": id,
        "name": name,
        "executed": False,
        "state": state,
        "time": times,
    }


def timed(item: Any, earlier: Any, now: int) -> Any:
    """
    Return a content item with the times that it was not given.

    Args:
        item: What `call` returned; anything else is left alone.
        earlier: Times of the same call when its row was last written.
        now: When the row is written.
    """
    times = item.get("time") if isinstance(item, dict) else None
    if not isinstance(times, dict) or AUTO not in times.values():
        return item
    created, ran, completed = (times.get(name) for name in ("created", "ran", "completed"))
    state = item.get("state")
    status = state.get("status") if isinstance(state, dict) else None
    if created is AUTO:
        created = earlier.get("created", now)
    begun = created if isinstance(created, int) else now
    if ran is AUTO:
        ran = None if status in ("pending", "streaming") else earlier.get("ran", begun + WAIT_MS)
    if completed is AUTO:
        since = ran if isinstance(ran, int) else begun
        completed = None if status in _OPEN else earlier.get("completed", max(since + RUN_MS, now))
    return item | {"time": _times(created=created, ran=ran, completed=completed)}
