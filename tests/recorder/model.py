"""
A scripted model: an OpenAI-compatible streaming endpoint on loopback.

Every request is answered by the scene named in its last marked user message,
at the step given by the number of answers after that message, so retries,
forks and parallel sub-agents need no state. What was issued is kept: it is
the truth of a recording. It knows nothing about OpenCode's database.
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from recorder.script import Issued, Scene, Step

_MARKER = re.compile(r"\[\[([a-z0-9_.-]+)\]\]")
_HANG_SECONDS = 120.0
_PROMPT_TOKENS = 100
_COMPLETION_TOKENS = 10


class ScriptedModel:
    """The model behind the provider `scripted`. Use it as a context manager."""

    def __init__(self) -> None:
        self._scenes: dict[str, Scene] = {}
        self._lock = threading.Lock()
        self._issued: list[Issued] = []
        self._unscripted: list[str] = []
        self.stopping = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        """Return the base URL for the provider's settings."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def issued(self) -> tuple[Issued, ...]:
        """Return what was issued so far, in order."""
        with self._lock:
            return tuple(self._issued)

    @property
    def unscripted(self) -> tuple[str, ...]:
        """Return the prompts that no scene answers: a mistake in the script."""
        with self._lock:
            return tuple(self._unscripted)

    def add(self, *scenes: Scene) -> None:
        """Make scenes playable; a scene of the same name is replaced."""
        with self._lock:
            self._scenes.update({scene.name: scene for scene in scenes})

    def answer(self, request: dict[str, Any]) -> tuple[Step, list[Issued]]:
        """Return the step that answers a request, and the calls that it issues."""
        if not request.get("tools"):  # titles, summaries
            return Step(text="A recorded session"), []
        name, number = _locate(request.get("messages", []))
        with self._lock:
            scene = self._scenes.get(name)
            if scene is None:
                self._unscripted.append(name)
                return Step(text="No scene."), []
            if number >= len(scene.steps):
                return Step(text="Done."), []
            step = scene.steps[number]
            calls = [
                Issued(name, number, call.call_id or f"call_{name}_{number}_{at}", call)
                for at, call in enumerate(step.calls)
            ]
            return step, calls

    def confirm(self, calls: list[Issued]) -> None:
        """Note that calls are on their way."""
        with self._lock:
            self._issued.extend(calls)


def _locate(messages: list[dict[str, Any]]) -> tuple[str, int]:
    """Find the last marked user message and count the answers after it."""
    name, number = "", 0
    for message in messages:
        if message.get("role") == "user":
            marks = _MARKER.findall(_text(message.get("content")))
            if marks:
                name, number = marks[-1], 0
        elif message.get("role") == "assistant":
            number += 1
    return name, number


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _chunks(step: Step, calls: list[Issued]) -> Iterator[dict[str, Any]]:
    """Yield the deltas of an answer: text, each call in three pieces, the end, the usage."""
    yield _delta({"role": "assistant", "content": step.text})
    for at, issued in enumerate(calls):
        head = {"index": at, "id": issued.call_id, "type": "function"}
        start = {"function": {"name": issued.call.tool, "arguments": ""}}
        yield _delta({"tool_calls": [head | start]})
        text = issued.call.raw_arguments
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            yield _delta({"tool_calls": [{"index": at, "function": {"arguments": half}}]})
    yield _delta({}, "tool_calls" if step.calls else "stop")
    total = _PROMPT_TOKENS + _COMPLETION_TOKENS
    yield _chunk([]) | {
        "usage": {
            "prompt_tokens": _PROMPT_TOKENS,
            "completion_tokens": _COMPLETION_TOKENS,
            "total_tokens": total,
        }
    }


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return _chunk([{"index": 0, "delta": delta, "finish_reason": finish}])


def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted-model",
        "choices": choices,
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, model: ScriptedModel) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a killed OpenCode breaks its connections, as the script wants."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "scripted"
    sys_version = ""

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""

    def do_POST(self) -> None:
        """Answer a chat completion."""
        request = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        model = self.server.model
        step, calls = model.answer(request)
        if step.delay or step.hang:
            model.stopping.wait(_HANG_SECONDS if step.hang else step.delay)
        if step.http_status != 200:
            self._fail(step.http_status)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        model.confirm(calls)  # before the first byte: what OpenCode has seen is always known
        chunks = list(_chunks(step, calls))
        for chunk in chunks[:-3] if step.stall else chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
        if step.stall:
            model.stopping.wait(_HANG_SECONDS)
        self.wfile.write(b"data: [DONE]\n\n")

    def _fail(self, status: int) -> None:
        body = json.dumps({"error": {"message": "scripted failure", "type": "scripted"}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
