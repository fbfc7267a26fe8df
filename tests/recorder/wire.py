"""
The wire format of the scripted model: OpenAI-style streamed chat completions.

It turns a step of a scene into chunks and knows nothing else.
"""

from collections.abc import Iterator
from typing import Any

from recorder.script import Issued, Step, Usage


def chunks(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[dict[str, Any]]:
    """Yield the deltas of an answer: text, each call in three pieces, the end, the usage."""
    yield _delta(model, {"role": "assistant", "content": step.text})
    for at, issued in enumerate(calls):
        head = {"index": at, "id": issued.call_id, "type": "function"}
        start = {"function": {"name": issued.call.tool, "arguments": ""}}
        yield _delta(model, {"tool_calls": [head | start]})
        text = issued.call.raw_arguments
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            yield _delta(model, {"tool_calls": [{"index": at, "function": {"arguments": half}}]})
    yield _delta(model, {}, step.reason)
    yield _chunk(model, []) | {"usage": _usage(step.usage)}


def error(message: str) -> dict[str, Any]:
    """Return the body of a failed request."""
    return {"error": {"message": message, "type": "scripted"}}


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


def _delta(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return _chunk(model, [{"index": 0, "delta": delta, "finish_reason": finish}])


def _chunk(model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model,
        "choices": choices,
    }
