"""
A throw-away home in which a real OpenCode runs, and the processes in it.

Every wait is bounded, and leaving the sandbox ends every process that was
started in it, also those that OpenCode had put into groups of their own.
It never reads the database; it only says where it is.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contract.recorder.binaries import Binary
from contract.recorder.model import ScriptedModel
from contract.recorder.provision import MODEL, PROJECT, environment, provision
from contract.recorder.script import Scene

_RUN_SECONDS = 90.0
_SESSION = re.compile(r'"sessionID":"(ses_\w+)"')


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """
    Poll until a condition holds.

    Raises:
        TimeoutError: It did not hold in time.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"condition did not hold within {seconds} s")
        pause.wait(0.02)


class Running:
    """An OpenCode process that was started and not waited for."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def session(self) -> str | None:
        """Return the session that its output names, once it does."""
        found = _SESSION.search(self.output)
        return found.group(1) if found else None

    def named_session(self) -> str:
        """
        Return the session that its output names.

        Raises:
            RuntimeError: The output names none.
        """
        if not (session := self.session):
            raise RuntimeError(f"no session in the output: {self.output[-2000:]}")
        return session

    def events(self) -> list[dict[str, Any]]:
        """Return the JSON lines that it printed."""
        lines = (line for line in self.output.splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def wait(self, seconds: float = _RUN_SECONDS) -> int:
        """Wait for its end and return its exit code; kill it when it takes too long."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def interrupt(self, seconds: float = 30.0) -> int:
        """Press Ctrl-C and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        return self.wait(seconds)

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end, and kill it when it does not."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(seconds)

    def kill(self) -> None:
        """End it at once, itself first, so that it cannot write down how its children end."""
        children = _descendants(self.process.pid)
        self.process.kill()
        self.process.wait(10)
        _kill(children)


class Sandbox:
    """
    A home, a project and a scripted model around one OpenCode binary.

    Attributes:
        binary: The version in use; `switch` changes it.
        model: Its `issued` is the truth about what was called.
        api: How OpenCode speaks to it.
    """

    def __init__(self, binary: Binary, root: Path, api: str = "compat") -> None:
        self.binary = binary
        self.root = root
        self.api = api
        self.model = ScriptedModel()
        self._started: list[Running] = []

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        self.model.__enter__()
        provision(self.root, self.model.url, self.binary, self.api)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _kill(_inhabitants(self.root))
        for running in self._started:
            running.process.wait(10)
        self.model.__exit__(kind, error, trace)

    @property
    def project(self) -> Path:
        """Return the folder that OpenCode works in."""
        return self.root / PROJECT

    @property
    def data(self) -> Path:
        """Return OpenCode's data directory."""
        return self.root / "home" / ".local" / "share" / "opencode"

    @property
    def database(self) -> Path:
        """Return where OpenCode keeps its database."""
        return self.data / "opencode.db"

    def start(
        self,
        scene: Scene,
        *,
        session: str | None = None,
        fork: bool = False,
        approve: bool = True,
        model: str = MODEL,
        agent: str | None = None,
    ) -> Running:
        """Start playing a scene, in a new session or in a known one, or in its fork."""
        self.model.add(scene)
        arguments = ["run", *self.binary.server_flags, "--format", "json", "-m", model]
        arguments += self.binary.approve_flags if approve else []
        arguments += ["-s", session] if session else []
        arguments += ["--fork"] if fork else []
        arguments += ["--agent", agent] if agent else []
        return self.launch(*arguments, scene.prompt)

    def run(self, scene: Scene, **options: Any) -> str:
        """
        Play a scene to its end and return its session.

        Args:
            scene: Answers the prompt, and those of its sub-agents must be in `model` already.
            options: As for `start`.

        Raises:
            RuntimeError: OpenCode never named a session.
        """
        running = self.start(scene, **options)
        running.wait()
        return running.named_session()

    def switch(self, binary: Binary) -> None:
        """Go on with another version on the same home: an upgrade or a downgrade."""
        self.binary = binary
        provision(self.root, self.model.url, binary, self.api)

    def delete(self, session: str) -> None:
        """Delete a session as the user would."""
        running = self.launch("session", "delete", *self.binary.server_flags, session)
        if running.wait() != 0:
            raise RuntimeError(f"session delete failed: {running.output[-2000:]}")

    def launch(self, *arguments: str, env: dict[str, str] | None = None) -> Running:
        """Start the binary with any arguments, in a process group of its own."""
        output = self.root / f"output-{len(self._started)}.txt"
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [str(self.binary.path), *arguments],
                cwd=self.project,
                env=environment(self.root) | (env or {}),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(Running(process, output))
        return self._started[-1]


def _parents() -> dict[int, int]:
    """Return the parent of every process; /proc/<pid>/stat has it after the name's bracket."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    return found


def _descendants(root: int) -> set[int]:
    parents = _parents()
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {root}


def _inhabitants(root: Path) -> set[int]:
    """Return the processes that carry the sandbox's mark in their environment."""
    mark = f"OPENCODE_RECORDER_ROOT={root}\0".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in entry.read_bytes() + b"\0":
                found.add(int(entry.parent.name))
    return found


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
