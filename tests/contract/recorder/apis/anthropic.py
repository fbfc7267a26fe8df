"""
Anthropic's Messages: numbered content blocks, each begun, told in deltas and ended.

What was thought is part of what came out, and is not told apart.
"""

from collections.abc import Iterator
from typing import Any, Final

from contract.recorder.apis.chat import text
from contract.recorder.script import Event, Issued, Step

NPM: Final = "@ai-sdk/anthropic"
FAULT: Final[Event] = (
    "error",
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
)
_FOUND: Final = {
    "type": "web_search_result",
    "title": "Found",
    "url": "https://example.org/found",
    "encrypted_content": "c2ln",
    "page_age": None,
}
_FAILED: Final = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
_Block = tuple[dict[str, Any], tuple[dict[str, Any], ...]]
"""How a content block begins, and its deltas."""


def answer(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield the beginning of a message and its blocks."""
    message: dict[str, Any] = {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(step) | {"output_tokens": 1},
    }
    yield _event("message_start", message=message)
    for index, (start, deltas) in enumerate(_blocks(step, calls)):
        yield _event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)


def ending(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield why the message ends, and its usage."""
    reason = step.finish or ("tool_use" if step.own_calls else "end_turn")
    delta = {"stop_reason": reason, "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage=_usage(step))
    yield _event("message_stop")


def error(status: int, message: str) -> dict[str, Any]:
    """Return the body of a failed request."""
    kind = {400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def texts(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who says what in a request."""
    system = [("system", text(request.get("system")))]
    return system + [(str(one["role"]), text(one["content"])) for one in request["messages"]]


def _blocks(step: Step, calls: tuple[Issued, ...]) -> Iterator[_Block]:
    if step.thinking:
        told = {"type": "thinking_delta", "thinking": step.thinking}
        signed = {"type": "signature_delta", "signature": "c2ln"}
        yield {"type": "thinking", "thinking": "", "signature": ""}, (told, signed)
    if step.text:
        yield {"type": "text", "text": ""}, ({"type": "text_delta", "text": step.text},)
    for issued in calls:
        call = issued.call
        kind = "server_tool_use" if call.result else "tool_use"
        start = {"type": kind, "id": issued.call_id, "name": call.tool, "input": {}}
        pieces = ({"type": "input_json_delta", "partial_json": half} for half in call.halves)
        yield start, tuple(pieces)
        if call.result in ("found", "failed"):
            kind = f"{call.tool}_tool_result"
            content: object = [_FOUND] if call.result == "found" else _FAILED
            yield {"type": kind, "tool_use_id": issued.call_id, "content": content}, ()


def _usage(step: Step) -> dict[str, int]:
    return {
        "input_tokens": step.usage.prompt - step.usage.cached,
        "cache_creation_input_tokens": step.cache_written,
        "cache_read_input_tokens": step.usage.cached,
        "output_tokens": step.usage.completion,
    }


def _event(name: str, **data: object) -> Event:
    return name, {"type": name, **data}
