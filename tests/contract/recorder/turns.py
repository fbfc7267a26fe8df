"""
The turns of a recording: what the user asked, and what the model did step by step.

Like the rest of the truth it is built from the script and from what the
provider was asked and answered; the database is never read. A turn of a
sub-agent has no session but names the `parent` and the call it came `via`.

Of a step `usage` is what the provider reported, `tokens` and `cost` are what
OpenCode has to make of it. In 1.2 the output includes the reasoning, which is
charged twice; later their kinds do not overlap.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from contract.recorder.provision import PRICES
from contract.recorder.script import Issued, Request, Scene, Usage

_MILLION = 1_000_000


@dataclass(slots=True, eq=False)
class _Turn:
    scene: Scene
    session: str | None
    parent: str | None
    agent: str
    version: str
    requests: list[Request] = field(default_factory=list)
    via: str | None = None
    user_skills: tuple[str, ...] = ()
    deleted: bool = False
    typed: bool = True

    def document(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "parent": self.parent,
            "via": self.via,
            "scene": self.scene.name,
            "prompt": self.scene.prompt if self.typed else None,
            "agent": self.agent,
            "version": self.version,
            "outcome": self.scene.outcome,
            "user_skills": list(self.user_skills),
            "deleted": self.deleted,
            "steps": _steps(self.requests, self.version),
        }


@dataclass(slots=True)
class Turns:
    """What was asked and answered, turn by turn, and the sessions that it happened in."""

    _turns: list[_Turn] = field(default_factory=list)
    _compactions: list[dict[str, Any]] = field(default_factory=list)
    _sessions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def played(
        self,
        session: str,
        scenes: dict[str, Scene],
        own: Scene,
        requests: Iterable[Request],
        *,
        agent: str,
        version: str,
        user_skills: tuple[str, ...] = (),
    ) -> None:
        """Note a turn; requests of other scenes are its sub-agents' turns."""
        self._session(session)
        turn = _Turn(own, session, None, agent, version, user_skills=user_skills)
        found = {own.name: turn}
        for one in requests:
            if one.kind == "compaction":
                self._compactions.append(_compaction(session, "auto", one, version))
                continue
            if one.scene not in found:
                child = _Turn(scenes[one.scene], None, session, "general", version)
                child.via = _starter(child.scene, found.values())
                found[one.scene] = child
            found[one.scene].requests.append(one)
        self._turns.extend(found.values())

    def invoked(
        self, session: str, skill: str, scene: Scene, requests: Iterable[Request], version: str
    ) -> None:
        """Note a skill that the user invoked: the model answers it, though nothing was typed."""
        turn = _Turn(scene, session, None, "build", version, list(requests), typed=False)
        turn.user_skills = (skill,)
        self._turns.append(turn)

    def compacted(self, session: str, requests: Iterable[Request], version: str) -> None:
        """Note that the user asked for a compaction."""
        self._compactions += [_compaction(session, "manual", one, version) for one in requests]

    def forked(self, origin: str, fork: str) -> None:
        """Note a fork."""
        self._session(fork).update(kind="fork", origin=origin)

    def archived(self, session: str) -> None:
        """Note that the user put a session away."""
        self._session(session)["archived"] = True

    def deleted(self, session: str, heir: str | None) -> None:
        """Note that a session is gone; its turns count for the fork that still holds them."""
        self._session(session)["deleted"] = True
        for turn in self._turns:
            if turn.session == session:
                turn.session, turn.deleted = heir or session, heir is None

    def document(self) -> dict[str, Any]:
        """Return the part of `truth.json` that is about turns."""
        return {
            "prices_per_million": PRICES,
            "sessions": list(self._sessions.values()),
            "turns": [turn.document() for turn in self._turns],
            "compactions": self._compactions,
        }

    def _session(self, session: str) -> dict[str, Any]:
        fresh = {
            "id": session,
            "kind": "root",
            "origin": None,
            "archived": False,
            "deleted": False,
        }
        return self._sessions.setdefault(session, fresh)


def _starter(scene: Scene, turns: Iterable[_Turn]) -> str | None:
    """Return the call whose prompt asks for a scene."""
    for turn in turns:
        for request in turn.requests:
            for issued in request.issued:
                if scene.marker in issued.call.raw_arguments:
                    return issued.call_id
    return None


def _steps(requests: list[Request], version: str) -> list[dict[str, Any]]:
    """Return the steps of a turn; attempts that the provider refused belong to the next answer."""
    steps: list[dict[str, Any]] = []
    refusals: list[int] = []
    for at, one in enumerate(requests):
        again = requests[at + 1].number == one.number if at + 1 < len(requests) else False
        if one.status != 200 and again:
            refusals.append(one.status)
            continue
        steps.append({"number": one.number, "refusals": refusals} | _answer(one, version))
        refusals = []
    return steps


def _answer(one: Request, version: str) -> dict[str, Any]:
    """Return what came of a request; what failed, hung, broke off or died cost nothing."""
    killed = any(issued.call.status == "abandoned" for issued in one.issued)
    tokens = _tokens(one.step.usage, version)
    told = one.status == 200 and not one.step.stall and not killed
    return {
        "provider": one.provider,
        "model": one.model,
        "status": one.status,
        "finish": one.step.reason if told else None,
        "text": one.step.text,
        "usage": asdict(one.step.usage) if told else None,
        "tokens": tokens if told else None,
        "cost": _cost(one, tokens) if told else None,
        "calls": [_call(issued) for issued in one.issued],
    }


def _tokens(usage: Usage, version: str) -> dict[str, int]:
    overlap = usage.reasoning if version.startswith("1.2.") else 0
    return {
        "input": usage.prompt - usage.cached,
        "output": usage.completion - usage.reasoning + overlap,
        "reasoning": usage.reasoning,
        "cache_read": usage.cached,
        "cache_write": 0,
    }


def _cost(one: Request, tokens: dict[str, int]) -> float:
    prices = PRICES[f"{one.provider}/{one.model}"]
    priced = {**tokens, "output": tokens["output"] + tokens["reasoning"]}  # reasoning is output
    return sum(prices[kind] * priced[kind] for kind in prices) / _MILLION


def _compaction(session: str, mode: str, one: Request, version: str) -> dict[str, Any]:
    place = {"session": session, "mode": mode, "scene": one.scene, "before_step": one.number}
    answer = _answer(one, version)
    return place | {key: answer[key] for key in ("provider", "model", "usage", "tokens", "cost")}


def _call(issued: Issued) -> dict[str, Any]:
    call = issued.call
    return {
        "call_id": issued.call_id,
        "tool": call.tool,
        "canonical": call.canonical,
        "target": call.target,
        "skill": call.skill,
        "status": call.status,
        "reason": call.reason,
        "exit": call.exit,
        "files": [asdict(change) for change in call.files],
    }
