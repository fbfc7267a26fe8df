"""
A scripted model: a streaming endpoint on loopback that speaks the APIs of `apis`.

Every request is answered by the scene named in its last marked user message,
at the step given by the number of answers after that message, so retries,
forks and parallel sub-agents need no state. What was issued is kept: it is
the truth of a recording. It knows nothing about OpenCode's database.

A compaction takes that message away. The summary, which the model writes too,
therefore says where the scene goes on: `[[name+3]]` is its step 3.
"""

import json
import re
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from contract.recorder.apis import APIS, Api, spoken
from contract.recorder.script import Issued, Request, Scene, Step, Usage

_MARKER = re.compile(r"\[\[([a-z0-9_.-]+)(?:\+(\d+))?\]\]")
_HANG_SECONDS = 120.0
_SUMMARISE = re.compile(r"MUST summarize the conversation|the existing checkpoint")
_BUSY = (429, 503)
SUMMARY = Usage(prompt=400, completion=30)


class ScriptedModel:
    """The model behind the provider `scripted`. Use it as a context manager."""

    def __init__(self) -> None:
        self._scenes: dict[str, Scene] = {}
        self._lock = threading.Lock()
        self._issued: list[Issued] = []
        self._requests: list[Request] = []
        self._attempts: Counter[tuple[str, int]] = Counter()
        self._reached: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
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
        """Return the URL under which every provider has a folder of its own name."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def issued(self) -> tuple[Issued, ...]:
        """Return what was issued so far, in order."""
        with self._lock:
            return tuple(self._issued)

    @property
    def requests(self) -> tuple[Request, ...]:
        """Return what was asked so far, in order, but for titles."""
        with self._lock:
            return tuple(self._requests)

    @property
    def unscripted(self) -> tuple[str, ...]:
        """Return the prompts that no scene answers: a mistake in the script."""
        with self._lock:
            return tuple(self._unscripted)

    @property
    def scenes(self) -> dict[str, Scene]:
        """Return what is playable, by name."""
        with self._lock:
            return dict(self._scenes)

    def add(self, *scenes: Scene) -> None:
        """Make scenes playable; a scene of the same name is replaced."""
        with self._lock:
            self._scenes.update({scene.name: scene for scene in scenes})

    def answer(self, request: dict[str, Any], path: str) -> Request:
        """Return how a request is answered; who answers says so with `confirm`."""
        texts = spoken(path).texts(request)
        kind = _kind(texts, tools=bool(request.get("tools")))
        name, number = _locate(texts)
        if kind == "title":
            step = Step(text="A recorded session")
        elif kind == "compaction":
            number = self._reached[name]  # it is given one text, whose answers cannot be counted
            step = Step(text=_summary(name, number), usage=SUMMARY)
        else:
            number = self._count(name, number)
            step = self._step(name, number)
        calls = tuple(
            Issued(name, number, call.call_id or f"call_{name}_{number}_{at}", call)
            for at, call in enumerate(step.calls)
        )
        model = str(request.get("model") or path.rpartition("/")[2].partition(":")[0])
        provider = path.split("/")[1]
        return Request(kind, name, number, provider, model, step.http_status, step, calls)

    def confirm(self, request: Request) -> None:
        """Note an answer on its way: before its first byte, so what OpenCode saw is known."""
        with self._lock:
            if request.kind != "title":
                self._requests.append(request)
            if request.status == 200:
                self._issued.extend(request.issued)

    def _count(self, name: str, number: int) -> int:
        """Return the step that is due: that of the messages, or the next one."""
        with self._lock:
            if name not in self._scenes or not self._scenes[name].by_request:
                return number
            self._asked[name] += 1
            return self._asked[name] - 1

    def _step(self, name: str, number: int) -> Step:
        with self._lock:
            scene = self._scenes.get(name)
            if scene is None:
                self._unscripted.append(name)
                return Step(text="No scene.")
            if number >= len(scene.steps):
                return Step(text="Done.")
            step = scene.steps[number]
            attempt = self._attempts[name, number]
            self._attempts[name, number] += 1
            if attempt < len(step.refusals):
                return Step(http_status=step.refusals[attempt])
            self._reached[name] = number + 1
            return step


def _kind(texts: list[tuple[str, str]], *, tools: bool) -> str:
    """Tell what is asked for: a step, a title, or a summary of the session (in 2.x with tools)."""
    asked = [text for role, text in texts if role == "user"]
    if any(_SUMMARISE.search(text) for text in asked[-2:]):  # the second time it complains
        return "compaction"
    if tools:
        return "step"
    titled = any("title" in text for role, text in texts if role == "system")
    return "title" if titled else "compaction"


def _summary(name: str, number: int) -> str:
    """Return a summary under one of the headings without which 2.x takes none."""
    return f"## Objective\n\nGo on with [[{name}+{number}]]\n"


def _locate(texts: list[tuple[str, str]]) -> tuple[str, int]:
    """Find the last marked user message and count the answers after it."""
    name, number = "", 0
    for role, text in texts:
        marks = _MARKER.findall(text)
        # Only a summary goes on with a step, whoever seems to say it.
        if marks and (role == "user" or marks[-1][1]):
            name, number = marks[-1][0], int(marks[-1][1] or 0)
        elif role == "assistant":
            number += 1
    return name, number


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
        """Answer a request; the first folder of its path names the provider, the last the API."""
        request = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        path = self.path.partition("?")[0]
        model = self.server.model
        answer = model.answer(request, path)
        step = answer.step
        if step.hang:
            model.confirm(replace(answer, status=0))
        if step.delay or step.hang:
            model.stopping.wait(_HANG_SECONDS if step.hang else step.delay)
        if not step.hang:
            model.confirm(answer)
        if step.http_status == 200:
            self._stream(answer, spoken(path))
        else:
            self._fail(step, spoken(path))

    def _stream(self, answer: Request, api: Api) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        events = list(api.events(answer.step, answer.issued, answer.model))
        for name, data in events[:-3] if answer.step.stall else events:
            head = f"event: {name}\n" if name else ""
            self.wfile.write(f"{head}data: {json.dumps(data)}\n\n".encode())
            self.wfile.flush()
        if answer.step.stall:
            self.server.model.stopping.wait(_HANG_SECONDS)
        if api is APIS["compat"] and not answer.step.broken:
            self.wfile.write(b"data: [DONE]\n\n")

    def _fail(self, step: Step, api: Api) -> None:
        body = json.dumps(api.error(step.http_status, step.message)).encode()
        self.send_response(step.http_status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if step.http_status in _BUSY:
            self.send_header("retry-after-ms", str(step.retry_after_ms))
        self.end_headers()
        self.wfile.write(body)
