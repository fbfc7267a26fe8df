"""
The scenes about turns: skills at work, retries, edits, errors, tokens, delegation.

Beside its calls each scene carries how its turn has to end. As in `scenes`,
names of scenes are markers in prompts.
"""

from contract.recorder.dialect import Dialect
from contract.recorder.script import Change, Scene, Step, Usage

_DONE = Step(text="Done.")
_CONTEXT = 200_000


def skills_in_two_steps(d: Dialect) -> Scene:
    """Work, load a skill and work, load another and work."""
    return Scene(
        "two-skills",
        (
            Step(calls=(d.shell("echo before", exit=0),)),
            Step(calls=(d.skill("commit-style"),), usage=Usage(200, 20)),
            Step(
                calls=(d.read("greeting.txt", files=_read("greeting.txt")), d.shell("ls", exit=0)),
                usage=Usage(300, 30, 10, 200),
            ),
            Step(calls=(d.skill("release-notes"),), usage=Usage(400, 40)),
            Step(calls=(d.shell("git log --oneline", exit=0),), usage=Usage(500, 50)),
            Step(text="Done.", usage=Usage(600, 60, 20, 500)),
        ),
    )


def skills_in_one_step(d: Dialect) -> Scene:
    """Load two skills at once, then work."""
    both = (d.skill("commit-style"), d.skill("release-notes"))
    work = (d.shell("echo after both", exit=0),)
    return Scene("two-loads", (Step(calls=both), Step(calls=work, usage=Usage(700, 70)), _DONE))


def retried(d: Dialect) -> Scene:
    """Under a skill: a command that fails and then works, an edit missed twice, a lost file."""
    once = "test -e flag || { touch flag; exit 3; }"
    lost = d.read("lost.txt", status="error", reason="not_found")
    changed = (Change("edited", "retry.py", 2, 1),)
    steps = (
        d.skill("commit-style"),
        d.shell(once, exit=3),
        d.shell(once, exit=0),
        d.shell("echo another", exit=0),
        d.write("retry.py", "a = 1\n", files=(Change("created", "retry.py"),)),
        d.missed_edit("retry.py"),
        d.missed_edit("retry.py"),
        d.edit("retry.py", "a = 1", "a = 2\nb = 3", files=changed),
        lost,
        d.read("greeting.txt", files=_read("greeting.txt")),
        lost,
    )
    return Scene("retried", (*(Step(calls=(call,)) for call in steps), _DONE))


def edits(d: Dialect) -> Scene:
    """Create and change files in several languages; give up on one."""
    steps = (
        d.write("src/app.ts", "let a = 1;\n", files=(Change("created", "src/app.ts"),)),
        d.edit("src/app.ts", "1", "2", files=(Change("edited", "src/app.ts", 1, 1),)),
        d.write("src/lib.rs", "fn a() {}\nfn b() {}\n", files=(Change("created", "src/lib.rs"),)),
        d.edit("src/lib.rs", "fn b() {}\n", "", files=(Change("edited", "src/lib.rs", 0, 1),)),
        d.read("main.py", files=_read("main.py")),
        d.edit(
            "main.py",
            "print",
            "import sys\n\nprint",
            files=(Change("edited", "main.py", 2, 0),),
        ),
        d.write("src/app.ts", "let b = 3;\n", files=(Change("edited", "src/app.ts"),)),
        d.missed_edit("src/lib.rs"),
        d.missed_edit("src/lib.rs"),
    )
    return Scene("edits", (*(Step(calls=(call,)) for call in steps), _DONE))


def patches(d: Dialect) -> Scene:
    """Add, change, move and delete with the patch tool; and a patch that does not apply."""
    added = "*** Add File: docs/new.md\n+one\n+two\n"
    changed = '*** Update File: main.py\n@@\n-print("hello")\n+print("bye")\n+print("now")\n'
    moved = "*** Update File: greeting.txt\n*** Move to: hello.txt\n@@\n-hello\n+good day\n"
    gone = "*** Delete File: docs/new.md\n"
    gone_lines = 2 if d.is_v2 else 3  # 1.x counts what follows the last line as one more
    wrong = "*** Update File: main.py\n@@\n-nowhere\n+x\n"
    return Scene(
        "patches",
        (
            Step(calls=(d.patches(added, files=(Change("created", "docs/new.md", 2, 0),)),)),
            Step(calls=(d.patches(wrong, status="error", reason="edit_mismatch"),)),
            Step(calls=(d.patches(changed, files=(Change("edited", "main.py", 2, 1),)),)),
            Step(calls=(d.patches(moved, files=(Change("moved", "hello.txt", 1, 1),)),)),
            Step(
                calls=(d.patches(gone, files=(Change("deleted", "docs/new.md", 0, gone_lines),)),)
            ),
            _DONE,
        ),
    )


def metered(d: Dialect, name: str) -> Scene:
    """Use tokens of every type in two steps."""
    first = Step(calls=(d.shell("echo metered", exit=0),), usage=Usage(1000, 200, 50, 600))
    return Scene(name, (first, Step(text="Done.", usage=Usage(1500, 80, 30, 1200))))


def refused_by_the_provider(d: Dialect) -> Scene:
    """Let the provider be busy for two attempts, in the middle of a turn."""
    busy = Step(text="Done.", refusals=(429, 503))
    return Scene("busy-provider", (Step(calls=(d.shell("echo busy", exit=0),)), busy))


def provider_error(d: Dialect, name: str, status: int, message: str) -> Scene:
    """Work for a step, and let the provider refuse the next for good."""
    work = Step(calls=(d.skill("commit-style"), d.shell("echo worked", exit=0)))
    return Scene(name, (work, Step(http_status=status, message=message)), "failed")


def provider_down(name: str) -> Scene:
    """Let the provider fail at every attempt, until somebody interrupts the turn."""
    return Scene(name, (Step(http_status=500),), "interrupted")


def cut_off(name: str, finish: str) -> Scene:
    """End the answer for a reason that is no success."""
    return Scene(name, (Step(text="And then", finish=finish),), "failed")


def waiting(d: Dialect, name: str) -> Scene:
    """Work for a step under a skill, and wait for an answer that never comes."""
    return Scene(name, (Step(calls=(d.skill("commit-style"),)), Step(hang=True)), "interrupted")


def denied(d: Dialect) -> Scene:
    """Meet two rules that deny, and go on."""
    return Scene(
        "denied",
        (
            Step(calls=(d.skill("forbidden-ways", status="denied"),)),
            Step(calls=(d.shell("shutdown now", status="denied"),)),
            _DONE,
        ),
    )


def refused(d: Dialect) -> Scene:
    """Under a skill, ask for a permission that nobody grants: the turn ends there."""
    ask = Step(calls=(d.shell("reboot now", status="denied"),))
    return Scene("refused", (Step(calls=(d.skill("commit-style"),)), ask), "interrupted")


def nested(d: Dialect) -> tuple[Scene, Scene, Scene]:
    """Return a scene under a skill, its sub-agent under another, and the one below that."""
    lowest = Scene("nested-2", (Step(calls=(d.shell("echo deep", exit=0),)), _DONE))
    ask = Step(calls=(d.subagent(lowest.prompt),), usage=Usage(300, 30))
    load = Step(calls=(d.skill("release-notes"),))
    middle = Scene("nested-1", (load, ask, Step(calls=(d.shell("echo up", exit=0),)), _DONE))
    ask = Step(calls=(d.subagent(middle.prompt),), usage=Usage(200, 20))
    top = Scene("nested", (Step(calls=(d.skill("commit-style"),)), ask, _DONE))
    return top, middle, lowest


def side_by_side(d: Dialect) -> tuple[Scene, Scene, Scene]:
    """Return a scene with two sub-agents in one step, and what they play."""
    left, right = (
        Scene(f"side-{side}", (Step(calls=(d.shell(f"echo {side}", exit=0),)), _DONE))
        for side in ("left", "right")
    )
    calls = (d.subagent(left.prompt), d.subagent(right.prompt))
    return Scene("side-by-side", (Step(calls=calls), _DONE)), left, right


def overflowing(d: Dialect) -> Scene:
    """Fill the context under a skill, so that OpenCode summarises the session and goes on."""
    full = Step(calls=(d.shell("echo full", exit=0),), usage=Usage(_CONTEXT - 1000, 100))
    after = Step(calls=(d.shell("echo after the summary", exit=0),))
    return Scene("overflowing", (Step(calls=(d.skill("commit-style"),)), full, after, _DONE))


def _read(path: str) -> tuple[Change, ...]:
    return (Change("read", path),)
