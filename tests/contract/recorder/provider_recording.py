"""
The recordings about providers: one version of OpenCode behind one API.

Each scene has a session of its own. What they need not show is left out of the
database, so that a recording is small: the log of events, and free pages.
"""

import lzma
import shutil
import time
from pathlib import Path
from typing import Final

import apsw

from contract.recorder import provider_scenes
from contract.recorder.binaries import Binary
from contract.recorder.dialect import Dialect
from contract.recorder.opencode import Sandbox, wait_for
from contract.recorder.provider_truth import ProviderTruth
from contract.recorder.recording import grace, one_line_each, sandboxed
from contract.recorder.script import Scene
from contract.recorder.server import Server

_SECONDS: Final = 90.0
"""How long a machine that is busy may take to begin with a scene."""


class ProviderRecording:
    """A sandbox and the truth about what its provider sent."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.truth = ProviderTruth(sandbox.api)
        self._asked = 0

    @property
    def dialect(self) -> Dialect:
        """Return the spelling of the binary in use."""
        return Dialect(self.sandbox.binary, self.sandbox.project)

    def play(self, scene: Scene, session: str | None = None) -> str:
        """Play a scene and note what was sent."""
        found = self.sandbox.run(scene, session=session)
        self.note(found, scene)
        return found

    def ask(self, server: Server, scene: Scene) -> str:
        """Play a scene in a server, which begins faster than a process."""
        session = server.create()
        server.prompt(session, scene)
        self.wait_for_answers(scene, 1)
        server.settle(session)
        self.note(session, scene)
        return session

    def note(self, session: str, scene: Scene, *, woken: int = 0) -> None:
        """Attribute what was sent since the last time."""
        requests = self.sandbox.model.requests
        fresh, self._asked = requests[self._asked :], len(requests)
        version = self.sandbox.binary.version
        self.truth.played(session, scene, fresh, version=version, woken=woken)
        if self.sandbox.model.unscripted:
            raise RuntimeError(f"prompts without a scene: {self.sandbox.model.unscripted}")

    def wait_for_answers(self, scene: Scene, count: int) -> None:
        """Wait until so many answers of a scene went out, and could be written down."""
        model = self.sandbox.model
        wait_for(lambda: sum(one.scene == scene.name for one in model.requests) >= count, _SECONDS)
        grace()

    def save(self, out: Path, version: str) -> None:
        """Keep the database, made small, and the truth."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        small = self.sandbox.root / "small.db"
        _shrink(self.sandbox.database, small)
        packed = lzma.compress(small.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
        (out / "opencode.db.xz").write_bytes(packed)
        document = self.truth.document(version, time.time_ns() // 1_000_000)
        (out / "truth.json").write_text(one_line_each(document))


def record_provider(binary: Binary, api: str, out: Path) -> None:
    """Record every scene that one version can play with one API."""
    with sandboxed(binary, f"{api}-{binary.version}", api) as sandbox:
        recording = ProviderRecording(sandbox)
        with Server(sandbox) as server:
            for scene in provider_scenes.plain(recording.dialect, api):
                recording.ask(server, scene)
        for scene in provider_scenes.cut_arguments(recording.dialect, api):
            recording.play(scene)  # may ask for permission, which no server gives
        _interrupted(recording)
        _background(recording)
        recording.save(out, binary.version)


def record_provider_upgrade(old: Binary, new: Binary, api: str, out: Path) -> None:
    """Record what the provider ran and what worked on in the background, and import it."""
    with sandboxed(old, f"{api}-{old.version}-{new.version}", api) as sandbox:
        recording = ProviderRecording(sandbox)
        d = recording.dialect
        with Server(sandbox) as server:
            runs = provider_scenes.provider_run(d, api)
            sessions = [recording.ask(server, scene) for scene in runs]
        _background(recording)
        sandbox.switch(new)
        later = provider_scenes.going_on(recording.dialect, "after-the-upgrade")
        recording.play(later, sessions[0])
        recording.save(out, f"{old.version}, {new.version}")


def _interrupted(recording: ProviderRecording) -> None:
    """Press Escape in a command, and while OpenCode waits to ask again; press Ctrl-C."""
    d = recording.dialect
    waits = [provider_scenes.waiting(d, f"waiting{suffix}") for suffix in ("", "-and-on")]
    command = provider_scenes.sleeping(d, "escape")
    with Server(recording.sandbox) as server:
        sessions = [server.create() for _ in (command, *waits)]
        server.prompt(sessions[0], command)
        wait_for((recording.sandbox.project / "escape.started").exists, _SECONDS)
        _stop(recording, server, sessions[0], command)
        for session, scene in zip(sessions[1:], waits, strict=True):
            server.prompt(session, scene)
            recording.wait_for_answers(scene, 2)
            _stop(recording, server, session, scene)
    recording.play(provider_scenes.going_on(d, "on-after-waiting"), sessions[-1])
    scene = provider_scenes.sleeping(d, "control-c", told=d.is_v2)
    running = recording.sandbox.start(scene)
    wait_for((recording.sandbox.project / "control-c.started").exists, _SECONDS)
    grace()
    running.interrupt()
    recording.note(running.named_session(), scene)


def _stop(recording: ProviderRecording, server: Server, session: str, scene: Scene) -> None:
    grace()
    server.interrupt(session)
    grace()  # 1.x is idle at once and winds up afterwards
    recording.note(session, scene)


def _background(recording: ProviderRecording) -> None:
    """Let a sub-agent work on after its call has ended, and be told of it."""
    scene, child = provider_scenes.background(recording.dialect)
    recording.sandbox.model.add(child)
    with Server(recording.sandbox, background=True) as server:
        session = server.create()
        server.prompt(session, scene)
        recording.wait_for_answers(child, len(child.steps))
        recording.wait_for_answers(scene, len(scene.steps) + 1)  # the last is about the child
        server.settle(session)
        grace()
    recording.note(session, scene, woken=1)


def _shrink(database: Path, into: Path) -> None:
    """Copy a database into one file without its events."""
    source, target = apsw.Connection(str(database)), apsw.Connection(str(into))
    with target.backup("main", source, "main") as backup:
        backup.step()
    source.close()
    if target.execute("SELECT 1 FROM sqlite_schema WHERE name = 'event'").fetchall():
        target.execute("DELETE FROM event")
    target.pragma("journal_mode", "delete")
    target.execute("VACUUM")
    target.close()
