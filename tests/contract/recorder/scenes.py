"""
The scenes that recordings and live tests play.

Each function returns a scene whose calls carry the end they provoke. Names of
scenes are markers in prompts: two scenes played in one sandbox need two names.
"""

from dataclasses import replace
from functools import partial

from contract.recorder.dialect import Dialect
from contract.recorder.script import Call, Scene, Step


def bulk(d: Dialect, name: str, calls: int, skill: str = "commit-style") -> Scene:
    """Load a skill and run commands until there are `calls` calls, one in each step."""
    work = [d.shell(f"echo {number}") for number in range(calls - 1)]
    return _scene(name, *[Step(calls=(call,)) for call in (d.skill(skill), *work)])


def sleeping(d: Dialect, name: str, seconds: float, *, status: str = "completed") -> Scene:
    """Keep one command running; the file `<name>.started` appears when it does."""
    call = d.shell(f"touch {name}.started; sleep {seconds}", status=status)
    return _scene(name, Step(calls=(call,)))


def hanging(name: str) -> Scene:
    """Keep the model silent: a turn that runs without any call."""
    return Scene(name, (Step(hang=True),))


def stalling(d: Dialect, name: str) -> Scene:
    """Fall silent while the arguments of a call stream in: it never gets to run."""
    step = Step(calls=(d.shell("echo never", status="abandoned"),), stall=True)
    return Scene(name, (step,), "abandoned")


def failing_model(name: str) -> Scene:
    """Let the provider answer with an error that is not retried."""
    return Scene(name, (Step(http_status=400),), "failed")


def skills(d: Dialect) -> Scene:
    """Load two skills, one of them again, and one that comes with OpenCode."""
    loads = [d.skill("commit-style"), d.skill("release-notes"), d.skill("commit-style")]
    if d.is_v2:
        loads.append(d.skill("opencode"))
    elif d.binary.numbers >= (1, 17):
        loads.append(d.skill("customize-opencode"))
    steps = [Step(text="Loading.", calls=(load,)) for load in loads]
    steps.insert(2, Step(calls=(d.read("greeting.txt"), d.shell("git log --oneline"))))
    return _scene("skills", *steps)


def skill_errors(d: Dialect) -> Scene:
    """Ask for a skill that is not there and for one that a rule denies."""
    return _scene(
        "skill-errors",
        Step(calls=(d.skill("no-such-skill", exists=False),)),
        Step(calls=(d.skill("forbidden-ways", status="denied"),)),
    )


def mistakes(d: Dialect) -> Scene:
    """Name a tool that does not exist; send broken JSON, missing and mistyped arguments."""
    wrong = partial(Call, status="error", reason="invalid_arguments")
    shell = d.shell("").tool
    key = "path" if d.is_v2 else "filePath"
    cut = '{"command": "echo'
    return _scene(
        "mistakes",
        Step(calls=(wrong("make_coffee", {"cups": 2}, reason="not_found", exists=False),)),
        # 2.x closes what was cut off and runs it; what is no JSON at all fails everywhere
        Step(calls=(Call(shell, cut) if d.is_v2 else wrong(shell, cut),)),
        Step(calls=(wrong(shell, "echo no JSON"),)),
        Step(calls=(wrong("read", {}),)),
        Step(calls=(wrong("read", {key: {"not": "a text"}}),)),
    )


def files(d: Dialect) -> Scene:
    """Read, search, write and edit; miss an edit and a file."""
    return _scene(
        "files",
        Step(calls=(d.read("greeting.txt"),)),
        Step(calls=(Call("glob", {"pattern": "*.txt"}), Call("grep", {"pattern": "hello"}))),
        Step(calls=(d.write("notes/new.md", "one\ntwo\nthree\n"),)),
        Step(
            calls=(d.edit("greeting.txt", "nowhere to be found", "x", **_error("edit_mismatch")),)
        ),
        Step(calls=(d.edit("greeting.txt", "world", "there\nand everywhere"),)),
        Step(calls=(d.read("missing.txt", **_error("not_found")),)),
    )


def patching(d: Dialect) -> Scene:
    """Add a file and change another with the patch tool."""
    return _scene("patching", Step(calls=(d.patch("main.py", 'print("hello")', 'print("bye")'),)))


def commands(d: Dialect) -> Scene:
    """Run commands: fine, failing, too slow, denied, too long, not ASCII, cut in an emoji."""
    return _scene(
        "commands",
        Step(calls=(d.shell("echo fine"),)),
        Step(calls=(d.shell("git status; exit 3"),)),
        Step(calls=(d.shell("sleep 20", timeout_ms=300),)),
        Step(calls=(d.shell("shutdown now", status="denied"),)),
        Step(calls=(d.shell("cat long.txt"),)),
        Step(calls=(d.shell("printf 'Grüße, 世界 \\360\\237\\221\\213\\n'"),)),
        Step(calls=(d.shell("cat emoji.txt"),)),
    )


def parallel(d: Dialect) -> Scene:
    """Call four tools in one step."""
    calls = (d.shell("echo a"), d.shell("echo b"), d.skill("release-notes"), d.read("main.py"))
    return _scene("parallel", Step(calls=calls))


def same_id(d: Dialect) -> Scene:
    """Call four times, always as `call_0`."""
    steps = [Step(calls=(d.shell(f"echo {n}", call_id="call_0"),)) for n in range(4)]
    return _scene("same-id", *steps)


def delegation(d: Dialect) -> tuple[Scene, Scene]:
    """Return a scene with a sub-agent, and the one that the sub-agent plays."""
    child = _scene(
        "sub-agent",
        Step(calls=(d.skill("commit-style"), d.read("greeting.txt"))),
        Step(calls=(d.shell("echo from below"),)),
    )
    return _scene("delegation", Step(calls=(d.subagent(child.prompt),))), child


def interrupted_delegation(d: Dialect, name: str) -> tuple[Scene, Scene]:
    """Return a scene that waits for a sub-agent, and the sub-agent's: a command that takes long."""
    child = sleeping(d, f"{name}-below", 60, status="aborted")
    child = replace(child, outcome="interrupted")
    return _scene(
        name, Step(calls=(d.subagent(child.prompt, status=d.interrupted_subagent),))
    ), child


def mcp(d: Dialect) -> Scene:
    """Call an MCP tool that answers and one that fails."""
    ok, broken = d.mcp("echo", "hello"), d.mcp("broken", "out of order", fails=True)
    pause = Step(calls=(d.shell("sleep 2"),))  # 2.x connects to MCP servers while it works
    return _scene("mcp", pause, Step(calls=(ok,)), Step(calls=(broken,)))


def todos(d: Dialect) -> Scene:
    """Write a todo list (1.x)."""
    return _scene("todos", Step(calls=(d.todo("first", "second"),)))


def refused(d: Dialect) -> Scene:
    """Ask for a permission that nobody grants; the turn ends there."""
    scene = _scene("refused", Step(calls=(d.shell("reboot now", status="denied"),)))
    return replace(scene, outcome="interrupted")


def _scene(name: str, *steps: Step) -> Scene:
    return Scene(name, (*steps, Step(text="Done.")))


def _error(reason: str) -> dict[str, str]:
    return {"status": "error", "reason": reason}
