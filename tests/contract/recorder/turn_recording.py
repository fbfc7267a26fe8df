"""
The recordings about turns: what the user asked, and how it ended.

They stand beside the recordings of `recording`, which are about single calls,
and are made in the same way.
"""

from dataclasses import replace
from pathlib import Path

from contract.recorder import scenes, turn_scenes
from contract.recorder.binaries import Binary
from contract.recorder.opencode import wait_for
from contract.recorder.provision import OTHER_MODEL, PATCH_MODEL
from contract.recorder.recording import Recording, grace, sandboxed
from contract.recorder.script import Scene
from contract.recorder.server import Server


def record_turns(binary: Binary, out: Path) -> None:
    """Record every kind of turn that one version knows."""
    with sandboxed(binary, f"turns-{binary.version}") as sandbox:
        recording = Recording(sandbox)
        _work(recording)
        _delegated(recording)
        _failing(recording)
        _interrupted(recording)
        _compacted(recording)
        _by_the_user(recording)
        _copied(recording)
        recording.save(out, binary.version)


def record_turns_upgrade(old: Binary, new: Binary, out: Path) -> None:
    """Record turns of one session in both generations, one of them open at the upgrade."""
    with sandboxed(old, f"turns-{old.version}-{new.version}") as sandbox:
        recording = Recording(sandbox)
        shared = _before_the_upgrade(recording)
        sandbox.switch(new)
        recording.truth.upgraded()
        d = recording.dialect
        recording.play(scenes.bulk(d, "new-shared", 3, "release-notes"), session=shared)
        recording.play(turn_scenes.refused(d), approve=False)
        recording.play(turn_scenes.retried(d))
        sandbox.switch(old)
        d = recording.dialect
        recording.play(scenes.bulk(d, "back-shared", 3), session=shared)
        recording.play(turn_scenes.metered(d, "back-metered"), model=OTHER_MODEL)
        recording.save(out, f"{old.version}, {new.version}, {old.version}")


def _before_the_upgrade(recording: Recording) -> str:
    d = recording.dialect
    shared = recording.play(turn_scenes.skills_in_two_steps(d))
    recording.play(turn_scenes.metered(d, "metered"), session=shared)
    recording.play(turn_scenes.provider_error(d, "failed-before", 400, "no such thing"))
    recording.play(*turn_scenes.nested(d))
    orphan = recording.play(scenes.bulk(d, "orphaned", 3))
    recording.fork(orphan, scenes.bulk(d, "orphan-fork", 2, "release-notes"))
    recording.delete(orphan)
    recording.kill("open-at-upgrade")
    return shared


def _work(recording: Recording) -> None:
    """Let turns succeed: skills at work, retries, edits, tokens of two providers."""
    d = recording.dialect
    shared = recording.play(turn_scenes.skills_in_two_steps(d))
    recording.play(turn_scenes.skills_in_one_step(d), session=shared)
    recording.play(turn_scenes.retried(d))
    recording.play(turn_scenes.edits(d))
    recording.play(turn_scenes.patches(d), model=PATCH_MODEL)
    recording.play(turn_scenes.metered(d, "metered"), model=OTHER_MODEL)
    recording.play(turn_scenes.metered(d, "planned"), agent="plan")
    recording.play(scenes.parallel(d))
    recording.play(scenes.same_id(d))
    recording.play(scenes.mcp(d))
    if not d.is_v2:
        recording.play(scenes.todos(d))
    recording.play(turn_scenes.refused_by_the_provider(d))


def _delegated(recording: Recording) -> None:
    d = recording.dialect
    recording.play(*turn_scenes.nested(d))
    recording.play(*turn_scenes.side_by_side(d))


def _failing(recording: Recording) -> None:
    """Let turns fail, or end without success."""
    d = recording.dialect
    recording.play(turn_scenes.provider_error(d, "bad-request", 400, "no such thing"))
    recording.play(turn_scenes.provider_error(d, "no-entry", 401, "bad key"))
    recording.play(turn_scenes.cut_off("too-long", "length"))
    recording.play(turn_scenes.cut_off("filtered", "content_filter"))
    recording.play(turn_scenes.denied(d))
    recording.play(turn_scenes.refused(d), approve=False)


def _interrupted(recording: Recording) -> None:
    """Press Escape while the model thinks and while a provider is down; press Ctrl-C; kill."""
    d = recording.dialect
    session = recording.play(scenes.bulk(d, "before-escape", 2))
    with Server(recording.sandbox) as server:
        for scene in (turn_scenes.waiting(d, "silent"), turn_scenes.provider_down("down")):
            server.prompt(session, scene)
            _await_request(recording, scene, len(scene.steps) - 1)
            server.interrupt(session)
            grace()
            recording.note(session, scene)
    recording.kill("killed")
    command = scenes.sleeping(d, "control-c", 60, status="aborted" if d.is_v2 else "abandoned")
    scene = replace(command, outcome="interrupted" if d.is_v2 else "abandoned")
    running = recording.begin(scene)
    running.interrupt()
    recording.note(running.named_session(), scene)


def _await_request(recording: Recording, scene: Scene, number: int) -> None:
    """Wait until the provider was asked for a step, and OpenCode had time to write it down."""
    wait_for(
        lambda: any(
            (one.scene, one.number) == (scene.name, number)
            for one in recording.sandbox.model.requests
        )
    )
    grace()


def _compacted(recording: Recording) -> None:
    """Overflow the context; then let the user ask for a summary, and go on after it."""
    d = recording.dialect
    session = recording.play(turn_scenes.overflowing(d))
    with Server(recording.sandbox) as server:
        server.compact(session)
    version = recording.sandbox.binary.version
    recording.truth.turns.compacted(session, recording.asked(), version)
    recording.play(scenes.bulk(d, "after-compaction", 2), session=session)


def _by_the_user(recording: Recording) -> None:
    """Type `!command`, invoke and mention skills (2.x), put a session away (1.x)."""
    d = recording.dialect
    session = recording.play(scenes.bulk(d, "by-hand", 2))
    with Server(recording.sandbox) as server:
        server.shell(session, "echo typed by hand")
        recording.truth.user_command(session, "echo typed by hand")
        if d.is_v2:
            recording.skills_by_hand(server, session, "by-hand")
        else:
            server.archive(session)
            recording.truth.turns.archived(session)


def _copied(recording: Recording) -> None:
    """Fork twice, and delete the original of one fork."""
    d = recording.dialect
    origin = recording.play(scenes.bulk(d, "origin", 3))
    recording.fork(origin, scenes.bulk(d, "fork", 2, "release-notes"))
    orphan = recording.play(scenes.bulk(d, "orphaned", 3))
    recording.fork(orphan, scenes.bulk(d, "orphan-fork", 2, "release-notes"))
    recording.delete(orphan)
    recording.delete(recording.play(scenes.bulk(d, "deleted", 2)))
