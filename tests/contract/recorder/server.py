"""
`opencode serve`, for what only its HTTP API can do.

The user's own `!command`, interrupting, and a skill that the user invokes have
no command line. Paths differ by generation; callers do not see that.
"""

import base64
import json
import socket
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any, Self

from contract.recorder.opencode import Running, Sandbox, wait_for
from contract.recorder.provision import MODEL
from contract.recorder.script import Scene

_PASSWORD = "recorder"  # noqa: S105 - of a server on loopback in a throw-away home


class Server:
    """
    A running API server of a sandbox. Use it as a context manager.

    Args:
        background: Let 1.x have sub-agents that work on in the background.
    """

    def __init__(self, sandbox: Sandbox, *, background: bool = False) -> None:
        self._sandbox = sandbox
        self._background = background
        self._v2 = sandbox.binary.is_v2
        self._port = _free_port()
        self._running: Running | None = None

    def __enter__(self) -> Self:
        self._running = self._sandbox.launch(
            "serve",
            "--hostname",
            "127.0.0.1",
            "--port",
            str(self._port),
            env=self._environment(),
        )
        running = self._running
        wait_for(lambda: "listening on" in running.output)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running:
            self._running.stop()

    def create(self) -> str:
        """Begin a session and return it."""
        answer = self._post("/session", {})
        return str((answer.get("data") or answer)["id"])

    def shell(self, session: str, command: str) -> None:
        """Type `!command`."""
        body = {"command": command} | ({} if self._v2 else {"agent": "build"})
        self._post(f"/session/{session}/shell", body)
        self.settle(session)

    def prompt(self, session: str, scene: Scene, skills: tuple[str, ...] = ()) -> None:
        """Send a prompt without waiting for its answer; `skills` are mentions (2.x)."""
        self._sandbox.model.add(scene)
        if self._v2:
            mentions = {"skills": [{"id": skill} for skill in skills]} if skills else {}
            self._post(f"/session/{session}/prompt", {"text": scene.prompt} | mentions)
        else:
            provider, _, model = MODEL.partition("/")
            body = {
                "agent": "build",
                "model": {"providerID": provider, "modelID": model},
                "parts": [{"type": "text", "text": scene.prompt}],
            }
            self._post(f"/session/{session}/prompt_async", body)

    def fork(self, session: str) -> str:
        """Fork a session and return the fork; 1.14's command line cannot."""
        answer = self._post(f"/session/{session}/fork", {})
        return str((answer.get("data") or answer)["id"])

    def invoke_skill(self, session: str, skill: str) -> None:
        """Invoke a skill as the user's slash command does (2.x)."""
        self._call("POST", f"/api/experimental/session/{session}/skill", {"id": skill})
        self.settle(session)

    def compact(self, session: str) -> None:
        """Ask for a summary of the session, as `/compact` does."""
        if self._v2:
            self._post(f"/session/{session}/compact", {})
        else:
            provider, _, model = MODEL.partition("/")
            self._post(f"/session/{session}/summarize", {"providerID": provider, "modelID": model})
        self.settle(session)

    def archive(self, session: str) -> None:
        """Put a session away."""
        path = f"/session/{session}"
        moment = {"archived": time.time_ns() // 1_000_000}
        self._call("PATCH", f"/api{path}" if self._v2 else path, {"time": moment})

    def interrupt(self, session: str) -> None:
        """Press Escape."""
        self._post(f"/session/{session}/{'interrupt' if self._v2 else 'abort'}", {})
        self.settle(session)

    def settle(self, session: str) -> None:
        """Wait until a session is idle."""
        if self._v2:
            self._call("POST", f"/api/experimental/session/{session}/wait", None)
        else:
            wait_for(lambda: session not in (self._call("GET", "/session/status", None) or {}))

    def _environment(self) -> dict[str, str]:
        """Return what 2.x needs of a server, and 1.x for sub-agents in the background."""
        if self._v2:
            return {"OPENCODE_SERVER_PASSWORD": _PASSWORD}
        return {"OPENCODE_EXPERIMENTAL_BACKGROUND_SUBAGENTS": "true"} if self._background else {}

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", f"/api{path}" if self._v2 else path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        key = base64.b64encode(f"opencode:{_PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": f"Basic {key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error
        return json.loads(text) if text.strip() else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
