"""
Making a recording: play the scenes, keep the files, write down the truth.

The database files are kept exactly as the last process left them. Scenes that
a version cannot play are left out of its recording.
"""

import json
import lzma
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.recorder import scenes
from contract.recorder.binaries import Binary
from contract.recorder.dialect import Dialect
from contract.recorder.opencode import Running, Sandbox, wait_for
from contract.recorder.provision import PATCH_MODEL
from contract.recorder.script import Request, Scene
from contract.recorder.server import Server
from contract.recorder.truth import Truth

WORKDIR = Path("/tmp/opencode-recording")  # noqa: S108 - ends up in databases: say nothing of the machine
_GRACE_SECONDS = 1.0


class Recording:
    """A sandbox and the truth about what is played in it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.truth = Truth()
        self._noted = 0
        self._asked = 0

    @property
    def dialect(self) -> Dialect:
        """Return the spelling of the binary in use."""
        return Dialect(self.sandbox.binary, self.sandbox.project)

    def play(self, scene: Scene, *helpers: Scene, **options: Any) -> str:
        """Play a scene and note its calls."""
        self.sandbox.model.add(*helpers)
        session = self.sandbox.run(scene, **options)
        self.note(session, scene, agent=options.get("agent"))
        return session

    def fork(self, session: str, scene: Scene) -> str:
        """Play a scene in a fork of a session."""
        if self.sandbox.binary.numbers[:2] == (1, 14):  # its `--fork` finds no session
            with Server(self.sandbox) as server:
                fork = server.fork(session)
            self.play(scene, session=fork)
        else:
            fork = self.play(scene, session=session, fork=True)
        self.truth.forked(session, fork)
        return fork

    def delete(self, session: str) -> None:
        """Delete a session."""
        self.sandbox.delete(session)
        self.truth.deleted(session)

    def begin(self, scene: Scene, **options: Any) -> Running:
        """Start a scene of `scenes.sleeping` and return when its command runs."""
        running = self.sandbox.start(scene, **options)
        wait_for((self.sandbox.project / f"{scene.name}.started").exists)
        grace()
        return running

    def kill(self, name: str, *, session: str | None = None) -> str:
        """Leave a call running for ever: its process is killed."""
        command = scenes.sleeping(self.dialect, name, 60, status="abandoned")
        scene = replace(command, outcome="abandoned")
        running = self.begin(scene, session=session)
        running.kill()
        found = session or running.named_session()
        self.note(found, scene)
        return found

    def kill_stalled(self, name: str) -> None:
        """Leave a call whose arguments never arrived: its process is killed."""
        scene = scenes.stalling(self.dialect, name)
        running = self.sandbox.start(scene)
        wait_for(lambda: any(one.scene == name for one in self.sandbox.model.issued))
        wait_for(lambda: running.session)
        grace()
        running.kill()
        self.note(running.named_session(), scene)

    def note(
        self,
        session: str,
        scene: Scene,
        *,
        agent: str | None = None,
        user_skills: tuple[str, ...] = (),
    ) -> None:
        """Attribute what was issued since the last time."""
        issued = self.sandbox.model.issued
        fresh, self._noted = issued[self._noted :], len(issued)
        version = self.sandbox.binary.version
        self.truth.played(session, scene.name, fresh, version)
        self.truth.turns.played(
            session,
            self.sandbox.model.scenes,
            scene,
            self.asked(),
            agent=agent or "build",
            version=version,
            user_skills=user_skills,
        )
        if self.sandbox.model.unscripted:
            raise RuntimeError(f"prompts without a scene: {self.sandbox.model.unscripted}")

    def asked(self) -> tuple[Request, ...]:
        """Return what the provider was asked since the last time."""
        requests = self.sandbox.model.requests
        fresh, self._asked = requests[self._asked :], len(requests)
        return fresh

    def skills_by_hand(self, server: Server, session: str, last: str) -> None:
        """Invoke a skill after the scene `last`, and mention another in a prompt (2.x)."""
        server.invoke_skill(session, "release-notes")
        self.truth.user_skill(session, "release-notes", "command")
        before = self.sandbox.model.scenes[last]
        version = self.sandbox.binary.version
        self.truth.turns.invoked(session, "release-notes", before, self.asked(), version)
        scene = scenes.bulk(self.dialect, "mentioned", 2, "release-notes")
        server.prompt(session, scene, skills=("commit-style",))
        server.settle(session)
        self.note(session, scene, user_skills=("commit-style",))
        self.truth.user_skill(session, "commit-style", "mention")

    def save(self, out: Path, version: str) -> None:
        """Keep the database files and the truth."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        for suffix in ("", "-wal"):
            source = self.sandbox.database.with_name(f"opencode.db{suffix}")
            if source.exists() and source.stat().st_size:
                packed = lzma.compress(source.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
                (out / f"{source.name}.xz").write_bytes(packed)
        document = self.truth.document(version, time.time_ns() // 1_000_000)
        (out / "truth.json").write_text(one_line_each(document))


def record(binary: Binary, out: Path) -> None:
    """Record everything that one version can do."""
    with sandboxed(binary, binary.version) as sandbox:
        recording = Recording(sandbox)
        _plain(recording)
        _interrupted(recording)
        _by_the_user(recording)
        _copied_and_deleted(recording)
        recording.save(out, binary.version)


def record_upgrade(old: Binary, new: Binary, out: Path) -> None:
    """Record an upgrade with a call left running, work in both, and a downgrade."""
    with sandboxed(old, f"upgrade-{old.version}-{new.version}") as sandbox:
        recording = Recording(sandbox)
        shared = _before_upgrade(recording)
        sandbox.switch(new)
        recording.truth.upgraded()
        _after_upgrade(recording, shared)
        sandbox.switch(old)
        recording.play(scenes.bulk(recording.dialect, "back-new", 4))
        recording.play(scenes.bulk(recording.dialect, "back-shared", 3), session=shared)
        recording.save(out, f"{old.version}, {new.version}, {old.version}")


def _before_upgrade(recording: Recording) -> str:
    d = recording.dialect
    shared = recording.play(scenes.skills(d))
    recording.play(scenes.mistakes(d))
    recording.play(*scenes.delegation(d))
    recording.play(scenes.commands(d))
    forked = recording.play(scenes.bulk(d, "to-be-forked", 4))
    recording.fork(forked, scenes.bulk(d, "old-fork", 3, "release-notes"))
    recording.kill("killed-before-upgrade")
    return shared


def _after_upgrade(recording: Recording, shared: str) -> None:
    d = recording.dialect
    recording.play(scenes.bulk(d, "new-shared", 3), session=shared)
    recording.play(scenes.files(d))
    recording.fork(shared, scenes.bulk(d, "new-fork", 2))
    recording.kill("killed-after-upgrade")


def _plain(recording: Recording) -> None:
    """Play what needs nothing but a prompt."""
    d = recording.dialect
    recording.play(scenes.skills(d))
    recording.play(scenes.skill_errors(d))
    recording.play(scenes.mistakes(d))
    recording.play(scenes.files(d))
    recording.play(scenes.patching(d), model=PATCH_MODEL)
    recording.play(scenes.commands(d))
    recording.play(scenes.parallel(d), agent="plan")
    recording.play(scenes.same_id(d))
    recording.play(*scenes.delegation(d))
    recording.play(scenes.mcp(d))
    if not d.is_v2:
        recording.play(scenes.todos(d))
    recording.play(scenes.refused(d), approve=False)
    recording.play(scenes.failing_model("model-fails"))


def _interrupted(recording: Recording) -> None:
    """Kill processes: one session is never seen again, one goes on, one is interrupted."""
    d = recording.dialect
    recording.kill("killed")
    recording.kill_stalled("killed-while-streaming")
    resumed = recording.kill("killed-and-resumed")
    recording.play(scenes.bulk(d, "resumed", 3), session=resumed)
    recording.fork(resumed, scenes.bulk(d, "fork-of-killed", 2))
    scene = scenes.sleeping(d, "control-c", 60, status="aborted" if d.is_v2 else "abandoned")
    scene = replace(scene, outcome="interrupted" if d.is_v2 else "abandoned")
    running = recording.begin(scene)  # 1.x goes without a word, 2.x writes down the interrupt
    running.interrupt()
    recording.note(running.named_session(), scene)


def _by_the_user(recording: Recording) -> None:
    """Use the API for what the user does by hand: `!command`, Escape, skills."""
    d = recording.dialect
    session = recording.play(scenes.bulk(d, "by-hand", 2))
    other = recording.play(scenes.bulk(d, "by-other-hand", 2))
    with Server(recording.sandbox) as server:
        server.shell(session, "echo typed by hand")
        recording.truth.user_command(session, "echo typed by hand")
        command = scenes.sleeping(d, "escape", 60, status="aborted")
        _escape(recording, server, session, command, command)
        parent, child = scenes.interrupted_delegation(d, "escape-agent")
        recording.sandbox.model.add(child)
        _escape(recording, server, other, parent, child)
        if d.is_v2:
            recording.skills_by_hand(server, session, "escape")


def _escape(
    recording: Recording, server: Server, session: str, scene: Scene, running: Scene
) -> None:
    """Interrupt a scene when the command of another, or its own, runs."""
    scene = replace(scene, outcome="interrupted")
    server.prompt(session, scene)
    wait_for((recording.sandbox.project / f"{running.name}.started").exists)
    grace()
    server.interrupt(session)
    grace()  # 1.x is idle at once and winds up afterwards
    recording.note(session, scene)


def _copied_and_deleted(recording: Recording) -> None:
    """Fork, fork the fork, delete an origin, delete the newest session."""
    d = recording.dialect
    origin = recording.play(scenes.bulk(d, "origin", 4))
    fork = recording.fork(origin, scenes.bulk(d, "fork", 2, "release-notes"))
    recording.fork(fork, scenes.bulk(d, "fork-of-fork", 2))
    orphan = recording.play(scenes.bulk(d, "orphaned", 3))
    recording.fork(orphan, scenes.bulk(d, "orphan-fork", 2))
    recording.delete(orphan)
    recording.delete(recording.play(scenes.bulk(d, "deleted", 5)))
    recording.play(scenes.bulk(d, "after-delete", 5))


def one_line_each(document: dict[str, Any]) -> str:
    """Return JSON with a line for each entry of a list."""
    lines = []
    for key, value in document.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = ",\n  ".join(json.dumps(entry) for entry in value).join(("[\n  ", "\n ]"))
        lines.append(f" {json.dumps(key)}: {text}")
    return ",\n".join(lines).join(("{\n", "\n}\n"))


@contextmanager
def sandboxed(binary: Binary, name: str, api: str = "compat") -> Iterator[Sandbox]:
    """Give a sandbox in a place that says nothing of the machine, and clear it away."""
    root = WORKDIR / name
    shutil.rmtree(root, ignore_errors=True)
    with Sandbox(binary, root, api) as sandbox:
        yield sandbox
    shutil.rmtree(root, ignore_errors=True)  # after a failure it stays, to look at


def grace() -> None:
    """Let the process write down that its call runs: the command started, the row may follow."""
    limit = time.monotonic() + _GRACE_SECONDS
    wait_for(lambda: time.monotonic() > limit, _GRACE_SECONDS + 5)
