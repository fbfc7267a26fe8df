"""
OpenAI's Responses: output items, each added, told in deltas and done.

A search that the provider runs is an item of its own kind, with no name.
"""

from collections.abc import Iterator
from typing import Any, Final

from contract.recorder.apis.chat import text
from contract.recorder.script import Event, Issued, Step

NPM: Final = "@ai-sdk/openai"
FAULT: Final[Event] = (
    "error",
    {
        "type": "error",
        "sequence_number": 0,
        "code": "server_error",
        "message": "The server had an error",
        "param": None,
    },
)


def answer(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield the beginning of a response and its items."""
    yield _event("response.created", response=_response(model, "in_progress"))
    at = 0
    if step.thinking:
        yield from _thought(at, step.thinking)
        at += 1
    if step.text:
        yield from _said(at, step.text)
        at += 1
    for place, issued in enumerate(calls, at):
        yield from (_search if issued.call.result else _called)(place, issued)


def ending(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield the end, whole or for a reason, and the usage."""
    usage = step.usage
    told = {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
    if step.finish:
        body = _response(model, "incomplete") | {"incomplete_details": {"reason": step.finish}}
        yield _event("response.incomplete", response=body | {"usage": told})
    else:
        yield _event("response.completed", response=_response(model, "completed") | {"usage": told})


def error(status: int, message: str) -> dict[str, Any]:
    """Return the body of a failed request."""
    kind = {400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")
    return {"error": {"type": kind, "message": message, "code": kind, "param": None}}


def texts(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who says what in a request; calls and their results say nothing."""
    system = [("system", str(request.get("instructions") or ""))]
    return system + [
        ({"developer": "system"}.get(one["role"], one["role"]), text(one.get("content")))
        for one in request["input"]
        if one.get("role")
    ]


def _thought(at: int, thinking: str) -> Iterator[Event]:
    start = {"type": "reasoning", "id": f"rs_{at}", "summary": [], "encrypted_content": "c2ln"}
    whole = {"type": "summary_text", "text": thinking}
    place = {"item_id": f"rs_{at}", "output_index": at, "summary_index": 0}
    yield _event("response.output_item.added", output_index=at, item=start)
    part = {"type": "summary_text", "text": ""}
    yield _event("response.reasoning_summary_part.added", **place, part=part)
    yield _event("response.reasoning_summary_text.delta", **place, delta=thinking)
    yield _event("response.reasoning_summary_part.done", **place, part=whole)
    yield _event("response.output_item.done", output_index=at, item=start | {"summary": [whole]})


def _said(at: int, said: str) -> Iterator[Event]:
    start = {"type": "message", "id": f"msg_{at}", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": said, "annotations": []}
    place = {"item_id": f"msg_{at}", "output_index": at, "content_index": 0}
    yield _event(
        "response.output_item.added", output_index=at, item=start | {"status": "in_progress"}
    )
    yield _event("response.content_part.added", **place, part=part | {"text": ""})
    yield _event("response.output_text.delta", **place, delta=said)
    yield _event("response.output_text.done", **place, text=said)
    done = start | {"status": "completed", "content": [part]}
    yield _event("response.output_item.done", output_index=at, item=done)


def _called(at: int, issued: Issued) -> Iterator[Event]:
    arguments = issued.call.raw_arguments
    item = {
        "type": "function_call",
        "id": f"fc_{at}",
        "call_id": issued.call_id,
        "name": issued.call.tool,
        "arguments": "",
        "status": "in_progress",
    }
    place = {"item_id": f"fc_{at}", "output_index": at}
    yield _event("response.output_item.added", output_index=at, item=item)
    for half in issued.call.halves:
        yield _event("response.function_call_arguments.delta", **place, delta=half)
    yield _event("response.function_call_arguments.done", **place, arguments=arguments)
    done = item | {"arguments": arguments, "status": "completed"}
    yield _event("response.output_item.done", output_index=at, item=done)


def _search(at: int, issued: Issued) -> Iterator[Event]:
    item = {"type": "web_search_call", "id": issued.call_id, "status": "in_progress"}
    yield _event("response.output_item.added", output_index=at, item=item)
    yield _event("response.web_search_call.completed", item_id=issued.call_id, output_index=at)
    query = {"type": "search", "query": "scripted", "sources": []}
    status = "failed" if issued.call.result == "failed" else "completed"
    done = item | {"status": status, "action": query}
    yield _event("response.output_item.done", output_index=at, item=done)


def _response(model: str, status: str) -> dict[str, Any]:
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": status,
        "output": [],
    }


def _event(name: str, **data: object) -> Event:
    return name, {"type": name, "sequence_number": 0, **data}
