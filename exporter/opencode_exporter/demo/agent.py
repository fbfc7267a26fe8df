"""
The simulated coding agent: from a seed, an endless supply of believable work.

Pure and without a clock: the same seed plans the same sessions.  The writers make
rows of the plans.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from random import Random
from typing import Final

from opencode_exporter.demo import texts, world
from opencode_exporter.demo.calls import Calls
from opencode_exporter.demo.plan import Call, Fault, Model, Skill, Step, Tokens, Turn, Work

_EXPLORE: Final = {
    "read": 40, "grep": 18, "glob": 9, "shell": 15, "webfetch": 3,
    "mcp": 5, "todowrite": 5, "subagent": 3, "unknown": 0.7,
}  # fmt: skip
_CHANGE: Final = {"edit": 50, "write": 9, "read": 22, "shell": 12, "grep": 6, "unknown": 0.4}
_VERIFY: Final = {"shell": 62, "read": 16, "edit": 14, "mcp": 4, "grep": 4}
_PHASES: Final = tuple(
    (list(phase), list(accumulate(phase.values()))) for phase in (_EXPLORE, _CHANGE, _VERIFY)
)
_ALONE: Final = frozenset({"subagent", "todowrite"})


class Agent:
    """
    Plans sessions.

    Args:
        seed: Chooses everything.
        generation: ``v1`` has a to-do list, ``v2`` has skills that the user invokes.
        turns: Turns of a session, on average.
        bulk: Scales the sizes of outputs.
        parallel: Share of steps that call several tools at once.

    Attributes:
        broken: Names of skills that do not load from now on.
    """

    def __init__(
        self,
        seed: int,
        generation: str,
        *,
        turns: float = 3,
        bulk: float = 1.0,
        parallel: float = 0.3,
    ) -> None:
        self._seed = seed
        self._generation = generation
        self._turns = turns
        self._bulk = bulk
        self._parallel = parallel
        self._count = 0
        self.broken: set[str] = set()

    def work(self, wanted: str = "") -> Work:
        """
        Return the next session.

        Args:
            wanted: The skill that is loaded first, if any.
        """
        self._count += 1
        rng = Random(f"{self._seed} {self._count}")  # noqa: S311  # a simulation, no secret
        project = rng.choices(world.PROJECTS, world.PROJECT_WEIGHTS)[0]
        calls = Calls(rng, project, self._bulk, self.broken)
        count = max(1, round(rng.expovariate(1 / self._turns)))
        return Work(
            project=project,
            title=texts.sentence(rng).rstrip("."),
            slug=f"{texts.verb(rng)}-{texts.noun(rng)}",
            turns=(self._turn(rng, calls, "" if number else wanted) for number in range(count)),
            forked=rng.random() < 0.02,
        )

    def _turn(self, rng: Random, calls: Calls, wanted: str) -> Turn:
        model = rng.choices(world.MODELS, world.MODEL_WEIGHTS)[0]
        turn = Turn(
            prompt=texts.sentence(rng),
            agent=rng.choices(world.AGENTS, world.AGENT_WEIGHTS)[0],
            model=model,
            pause=calls.lasting(60_000, 0.9),
            steps=iter(()),
        )
        if self._generation == "v2" and rng.random() < 0.1:
            skill = rng.choice(world.SKILLS[:4])
            turn.invoked = (skill.name, rng.random() < 0.6)
        turn.steps = self._steps(rng, calls, model, child=False, wanted=wanted)
        return turn

    def _steps(
        self, rng: Random, calls: Calls, model: Model, *, child: bool, wanted: str = ""
    ) -> Iterator[Step]:
        length = max(1, round(rng.lognormvariate(0, 0.6) * (3 if child else 9)))
        waiting: list[Call] = []
        if wanted:
            yield self._step(rng, calls, [calls.skill(_skill(wanted))])
        for place in range(length):
            chance = rng.random()
            if chance < 0.006 and not child:
                yield self._refused(rng, calls)
                return
            if chance < 0.018 and not child:
                fault = rng.choice((Fault.DECLINED, Fault.INTERRUPTED, Fault.KILLED))
                yield self._step(rng, calls, [calls.interrupted(fault)])
                return
            made = [waiting.pop(0)] if waiting else self._calls(rng, calls, model, place, child)
            yield self._step(rng, calls, made)
            for call in made:
                waiting.extend(self._answer(rng, calls, call))
            del waiting[2:]
        yield self._step(rng, calls, [])

    def _calls(
        self, rng: Random, calls: Calls, model: Model, place: int, child: bool
    ) -> list[Call]:
        if rng.random() < (0.3 if place == 0 else 0.07):
            made = [calls.skill()]
            if rng.random() < 0.25:
                made.append(calls.read())
            return made
        stage = min(2, place // 3)
        count = rng.choice((2, 2, 3, 4)) if rng.random() < self._parallel else 1
        made = []
        for _ in range(count):
            tools, weights = _PHASES[stage]
            tool = self._allowed(rng.choices(tools, cum_weights=weights)[0], model, child)
            call = calls.make(tool)
            if tool in _ALONE and call.tool == tool:
                if tool == "subagent":
                    call.child = self._child(rng, calls, model, call)
                return [call]
            made.append(call)
        return made

    def _allowed(self, tool: str, model: Model, child: bool) -> str:
        if tool == "todowrite" and self._generation == "v2":
            return "read"
        if tool == "subagent" and child:
            return "grep"
        if tool in {"edit", "write"} and model.patches:
            return "patch"
        return tool

    def _child(self, rng: Random, calls: Calls, model: Model, call: Call) -> Turn:
        steps = self._steps(rng, calls, model, child=True)
        return Turn(call.input["prompt"], "general", model, 0, steps)

    def _answer(self, rng: Random, calls: Calls, call: Call) -> list[Call]:
        """Return what the model does about a call that went wrong."""
        if call.fault is Fault.MISMATCH:
            again = calls.edit(call.input["path"])
            return [again] if rng.random() < 0.5 else [calls.read(), again]
        if call.tool == "skill" and call.fault in {Fault.RIPGREP, Fault.NETWORK}:
            return [calls.skill(_skill(call.input["id"]))] if rng.random() < 0.6 else []
        if call.facts.get("exit") and rng.random() < 0.7:
            return [calls.edit(calls.files[0]), calls.shell(call.input["command"])]
        return []

    def _step(self, rng: Random, calls: Calls, made: list[Call]) -> Step:
        final = not made
        return Step(
            thinking=calls.lasting(2_600, 0.6),
            speaking=calls.lasting(1_400, 0.7),
            tokens=Tokens(
                input=rng.randrange(200, 6_000),
                output=rng.randrange(60, 1_500),
                reasoning=rng.choice((0, 0, 120, 700)),
                cache_read=rng.randrange(4_000, 90_000),
                cache_write=rng.choice((0, 900, 4_000)),
            ),
            calls=made,
            text=texts.cut(rng, calls.lasting(500, 0.7)) if final or rng.random() < 0.35 else "",
            reasoning=texts.cut(rng, calls.lasting(900, 0.7)) if rng.random() < 0.4 else "",
        )

    def _refused(self, rng: Random, calls: Calls) -> Step:
        step = self._step(rng, calls, [])
        step.refused, step.text, step.reasoning = True, "", ""
        return step


def _skill(name: str) -> Skill:
    return next(skill for skill in world.SKILLS if skill.name == name)
