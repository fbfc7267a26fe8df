"""
OpenAI-style chat completions, as many providers speak them.

No such provider runs tools itself, and what is written to a cache has no name.
"""

from collections.abc import Iterator
from typing import Any, Final

from contract.recorder.script import Event, Issued, Step, Usage

NPM: Final = "@ai-sdk/openai-compatible"
FAULT: Final[Event] = (None, {"error": {"message": "upstream overloaded", "code": 503}})


def answer(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield the deltas of an answer: thoughts, text, each call in three pieces."""
    if step.thinking:
        yield _delta(model, {"role": "assistant", "reasoning_content": step.thinking})
    yield _delta(model, {"role": "assistant", "content": step.text})
    for at, issued in enumerate(calls):
        head = {"index": at, "id": issued.call_id, "type": "function"}
        start = {"function": {"name": issued.call.tool, "arguments": ""}}
        yield _delta(model, {"tool_calls": [head | start]})
        for half in issued.call.halves:
            yield _delta(model, {"tool_calls": [{"index": at, "function": {"arguments": half}}]})


def ending(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield the end and the usage."""
    yield _delta(model, {}, step.reason)
    yield None, _chunk(model, []) | {"usage": _usage(step.usage)}


def error(status: int, message: str) -> dict[str, Any]:
    """Return the body of a failed request."""
    return {"error": {"message": message, "type": "scripted"}}


def texts(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who says what in a request."""
    return [(str(one.get("role")), text(one.get("content"))) for one in request["messages"]]


def text(content: object) -> str:
    """Return the text of a message's content, be it one text or parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _usage(usage: Usage) -> dict[str, Any]:
    told: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    if usage.cached:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if usage.reasoning:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return told


def _delta(model: str, delta: dict[str, Any], finish: str | None = None) -> Event:
    return None, _chunk(model, [{"index": 0, "delta": delta, "finish_reason": finish}])


def _chunk(model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model,
        "choices": choices,
    }
