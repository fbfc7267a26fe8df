"""
One call of each tool, drawn at random: inputs, durations, ways to fail.

Pure: the same `Random` gives the same calls.  Knows tools by their 2.x names
and nothing of how a generation writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import accumulate
from random import Random
from typing import Any, Final

from opencode_exporter.demo import texts, world
from opencode_exporter.demo.plan import Call, Fault, Project, Skill

LIMIT: Final = 51_200  # OpenCode cuts longer outputs
_ENDINGS: Final = ("py", "ts", "go", "rs", "md", "css", "sql", "yaml")
_SKILLS: Final = list(accumulate(skill.weight for skill in world.SKILLS))
_GONE: Final = ((Fault.MISSING_SKILL, 1.0),)
_COMMANDS: Final = list(accumulate(weight for _, weight, _, _ in world.COMMANDS))


class Calls:
    """
    Draws calls for one session.

    Args:
        rng: The only source of chance.
        project: Where files live.
        bulk: Scales the sizes of outputs; 1 is what a real agent meets.
        broken: Names of skills that do not load, as of when they are loaded.
    """

    def __init__(
        self,
        rng: Random,
        project: Project,
        bulk: float = 1.0,
        broken: Collection[str] = frozenset(),
    ) -> None:
        self._rng = rng
        self._root = project.worktree
        self._bulk = bulk
        self._broken = broken
        self.files = [self._new_file() for _ in range(12)]
        self._makers: dict[str, Callable[[], Call]] = {
            "read": self.read,
            "grep": self.grep,
            "glob": self.glob,
            "shell": self.shell,
            "edit": self.edit,
            "write": self.write,
            "patch": self.patch,
            "webfetch": self.webfetch,
            "todowrite": self.todos,
            "mcp": self.mcp,
            "unknown": self.unknown,
            "subagent": self.subagent,
        }

    def make(self, tool: str) -> Call:
        """Return a call of that tool; one in 80 has arguments that the tool refuses."""
        call = self._makers[tool]()
        if tool in {"read", "grep", "edit", "shell"} and self._rng.random() < 1 / 80:
            return Call(call.tool, {}, self.lasting(4, 0.4), fault=Fault.ARGUMENTS)
        return call

    def lasting(self, median: float, spread: float = 0.8) -> int:
        """Return a duration, ms, from a log-normal distribution."""
        return max(1, int(self._rng.lognormvariate(0.0, spread) * median))

    def skill(self, wanted: Skill | None = None) -> Call:
        """Return a load of a skill; now and then one that does not exist."""
        rng = self._rng
        if wanted is None and rng.random() < 0.012:
            return Call("skill", {"id": "grand-plan"}, self.lasting(5), fault=Fault.MISSING_SKILL)
        found = wanted or rng.choices(world.SKILLS, cum_weights=_SKILLS)[0]
        call = Call("skill", {"id": found.name}, self.lasting(found.median, 0.6))
        chance = rng.random()
        faults = _GONE if found.name in self._broken else found.faults
        for fault, share in faults:
            if chance < share:
                call.fault = fault
                break
            chance -= share
        else:
            call.output = texts.cut(rng, 400 + self._size(900, 0.5))
        return call

    def read(self) -> Call:
        """Return a read of a file; one in 25 does not exist."""
        call = Call("read", {"path": self._file()}, self.lasting(14))
        if self._rng.random() < 1 / 25:
            call.input = {"path": self._new_file()}
            call.fault = Fault.NO_FILE
        else:
            self._fill(call, 1_800, 1.3)
        return call

    def grep(self) -> Call:
        """Return a search in files."""
        call = Call("grep", {"pattern": texts.noun(self._rng)}, self.lasting(60))
        call.facts["matches"] = self._rng.randrange(40)
        self._fill(call, 700, 1.2)
        return call

    def glob(self) -> Call:
        """Return a search for files."""
        pattern = f"**/*.{self._rng.choice(_ENDINGS)}"
        call = Call("glob", {"pattern": pattern}, self.lasting(35))
        call.facts["count"] = self._rng.randrange(100)
        self._fill(call, 500, 1.0)
        return call

    def shell(self, again: str | None = None) -> Call:
        """Return a command; `again` repeats one."""
        rng = self._rng
        command, _, median, failing = rng.choices(world.COMMANDS, cum_weights=_COMMANDS)[0]
        if again is not None:
            command, _, median, failing = next(c for c in world.COMMANDS if c[0] == again)
        call = Call("shell", {"command": command}, self.lasting(median, 0.9))
        chance = rng.random()
        if chance < 0.008 and median > 1_000:
            call.running, call.facts["timeout"] = 20_000, True
            call.input["timeout"] = 20_000
        else:
            call.facts["exit"] = rng.choice((1, 1, 1, 2, 127)) if chance < failing else 0
        self._fill(call, 900, 1.7)
        return call

    def edit(self, path: str | None = None) -> Call:
        """Return an edit; one in six does not find what it wants to replace."""
        rng = self._rng
        given = {"path": path or self._file(), "oldString": texts.cut(rng, 60)}
        given["newString"] = texts.cut(rng, 40 + self._size(90, 0.9))
        call = Call("edit", given, self.lasting(22))
        if path is None and rng.random() < 1 / 6:
            call.fault = Fault.MISMATCH
        call.facts = self._lines()
        return call

    def write(self) -> Call:
        """Return a file written whole."""
        created = self._rng.random() < 0.7
        path = self._new_file() if created else self._file()
        content = texts.cut(self._rng, 80 + self._size(700, 1.0))
        call = Call("write", {"path": path, "content": content}, self.lasting(16))
        call.facts = {"created": created}
        if created:
            self.files.append(path)
        return call

    def patch(self) -> Call:
        """Return a patch of a file or two."""
        paths = self._rng.sample(self.files, self._rng.choice((1, 1, 2)))
        files = [{"path": path, **self._lines()} for path in paths]
        call = Call("patch", {"patchText": texts.cut(self._rng, 300)}, self.lasting(30))
        call.facts = {"files": files}
        return call

    def webfetch(self) -> Call:
        """Return a page fetched; one in eight cannot be reached."""
        url = f"https://docs.example.com/{texts.noun(self._rng)}"
        call = Call("webfetch", {"url": url, "format": "markdown"}, self.lasting(800))
        if self._rng.random() < 1 / 8:
            call.fault = Fault.NETWORK
        else:
            self._fill(call, 5_000, 1.0)
        return call

    def todos(self) -> Call:
        """Return a new to-do list (1.x only)."""
        rng = self._rng
        done = rng.randrange(5)
        todos = [
            {
                "content": texts.sentence(rng),
                "status": ("completed", "in_progress", "pending")[(place > done) + (place >= done)],
                "priority": rng.choice(("high", "medium", "low")),
            }
            for place in range(5)
        ]
        return Call("todowrite", {"todos": todos}, self.lasting(5))

    def mcp(self) -> Call:
        """Return a call of the server ``tracker``; one in twelve fails."""
        name = self._rng.choice(("search_issues", "get_issue", "add_comment"))
        call = Call("mcp", {"query": texts.noun(self._rng)}, self.lasting(420))
        call.facts = {"server": "tracker", "name": name}
        if self._rng.random() < 1 / 12:
            call.fault = Fault.SERVER
            call.output = "Issue not found."
        else:
            self._fill(call, 1_500, 1.0)
        return call

    def unknown(self) -> Call:
        """Return a call of a tool that does not exist."""
        name = self._rng.choice(("list_directory", "run_tests", "think"))
        call = Call(name, {"path": "."}, self.lasting(4), fault=Fault.NO_TOOL)
        call.waiting = 8
        return call

    def subagent(self) -> Call:
        """Return a call of a sub-agent, its turn still to be given."""
        rng = self._rng
        given = {
            "agent": "general",
            "description": f"Look for every {texts.noun(rng)}",
            "prompt": texts.sentence(rng),
        }
        return Call("subagent", given, 1)

    def interrupted(self, fault: Fault) -> Call:
        """Return a long command that the user or a killed process ends, or a refused one."""
        call = self.shell("npm test")
        call.fault, call.running = fault, self.lasting(2_500)
        call.facts = {}
        if fault is Fault.DECLINED:
            call.waiting = self.lasting(3_000)
            call.running = self.lasting(30)
        return call

    def _fill(self, call: Call, median: float, spread: float) -> None:
        size = self._size(median, spread)
        call.facts["truncated"] = size > LIMIT
        call.output = texts.cut(self._rng, min(size, LIMIT))
        if size > 400 and self._rng.random() < 1 / 4000:
            call.output += "\ud83d"  # what JavaScript leaves of an emoji that it cut in half

    def _size(self, median: float, spread: float) -> int:
        return int(self._rng.lognormvariate(0.0, spread) * median * self._bulk)

    def _lines(self) -> dict[str, Any]:
        return {"additions": self.lasting(6, 1.0), "deletions": self.lasting(3, 1.0) - 1}

    def _file(self) -> str:
        # Some files are edited again and again.
        return self.files[int(self._rng.random() ** 2 * len(self.files))]

    def _new_file(self) -> str:
        rng = self._rng
        name = f"{texts.verb(rng)}_{texts.noun(rng)}.{rng.choice(_ENDINGS)}"
        return f"{self._root}/src/{texts.noun(rng)}/{name}"
