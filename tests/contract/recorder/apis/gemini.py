"""
Google's generateContent, streamed: parts of one candidate, calls whole and without ids.

Code that the provider runs is a part, and so is what came of it.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from contract.recorder.apis.chat import text
from contract.recorder.script import Event, Issued, Step

NPM: Final = "@ai-sdk/google"
FAULT: Final[Event] = (
    None,
    {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}},
)


def answer(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield thoughts, text and calls."""
    if step.thinking:
        yield _parts(model, {"text": step.thinking, "thought": True, "thoughtSignature": "c2ln"})
    if step.text:
        yield _parts(model, {"text": step.text})
    for issued in calls:
        if issued.call.result:
            outcome = "OUTCOME_OK" if issued.call.result == "found" else "OUTCOME_FAILED"
            yield _parts(model, {"executableCode": {"language": "PYTHON", "code": "print(1)"}})
            yield _parts(model, {"codeExecutionResult": {"outcome": outcome, "output": "1\n"}})
        else:
            arguments = json.loads(issued.call.raw_arguments)
            yield _parts(model, {"functionCall": {"name": issued.call.tool, "args": arguments}})


def ending(step: Step, calls: tuple[Issued, ...], model: str) -> Iterator[Event]:
    """Yield the end with the usage."""
    usage = step.usage
    _, body = _parts(model, {"text": ""})
    body["candidates"][0]["finishReason"] = step.finish or "STOP"
    body["usageMetadata"] = {
        "promptTokenCount": usage.prompt,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.completion - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.prompt + usage.completion,
    }
    yield None, body


def error(status: int, message: str) -> dict[str, Any]:
    """Return the body of a failed request."""
    kind = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}.get(status, "UNAVAILABLE")
    return {"error": {"code": status, "message": message, "status": kind}}


def texts(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who says what in a request."""
    system = request.get("systemInstruction") or {}
    told = [("system", text(system.get("parts")))]
    roles = {"model": "assistant"}
    return told + [
        (roles.get(one["role"], one["role"]), text(one["parts"])) for one in request["contents"]
    ]


def _parts(model: str, part: dict[str, Any]) -> Event:
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}}
    return None, {"candidates": [candidate], "modelVersion": model, "responseId": "scripted"}
