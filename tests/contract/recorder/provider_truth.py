"""
What a scripted provider sent, scene by scene: the truth of a recording about providers.

It is built from the script alone. Tokens are those that the API can tell:
Anthropic's has no word for reasoning, and the others none for cache writes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from contract.recorder.script import Issued, Request, Scene, Step


@dataclass(slots=True)
class ProviderTruth:
    """
    The ledger of a recording.

    Attributes:
        api: How the provider was spoken to.
    """

    api: str
    _scenes: list[dict[str, Any]] = field(default_factory=list)

    def played(
        self,
        session: str,
        scene: Scene,
        requests: Iterable[Request],
        *,
        version: str,
        woken: int = 0,
    ) -> None:
        """
        Note the answers to a prompt of the user; those of other scenes are its sub-agents'.

        `woken` is how often the end of a sub-agent in the background asked for an answer.
        """
        sent = [self._answer(one, scene, version) for one in requests]
        prompt = {
            "scene": scene.name,
            "outcome": scene.outcome,
            "version": version,
            "woken": woken,
            "sent": sent,
        }
        for entry in self._scenes:
            if entry["session"] == session:
                entry["prompts"].append(prompt)
                return
        self._scenes.append({"name": scene.name, "session": session, "prompts": [prompt]})

    def document(self, version: str, recorded_at_ms: int) -> dict[str, Any]:
        """Return what goes into `truth.json`."""
        return {
            "api": self.api,
            "version": version,
            "recorded_at_ms": recorded_at_ms,
            "scenes": self._scenes,
        }

    def _answer(self, one: Request, scene: Scene, version: str) -> dict[str, Any]:
        whole = one.status == 200 and not one.step.broken
        return {
            "kind": one.kind,
            "scene": one.scene,
            "status": one.status,
            "broken": one.step.broken or None,
            "finish": one.step.finish,
            "tokens": self._tokens(one.step) if whole and _kept(one, scene, version) else None,
            "calls": [_call(issued) for issued in one.issued],
        }

    def _tokens(self, step: Step) -> dict[str, int]:
        used, apart = step.usage, self.api != "anthropic"
        return {
            "input": used.prompt - used.cached,
            "output": used.completion - (used.reasoning if apart else 0),
            "reasoning": used.reasoning if apart else 0,
            "cache_read": used.cached,
            "cache_write": 0 if apart else step.cache_written,
        }


def _kept(one: Request, scene: Scene, version: str) -> bool:
    """Return whether OpenCode writes an answer's tokens down: 1.x not when it is interrupted."""
    if one.step.forgotten:
        return False
    cut_short = scene.outcome in ("interrupted", "abandoned") and any(
        issued.call.status in ("aborted", "abandoned") for issued in one.issued
    )
    return version.startswith("2.") or not cut_short


def _call(issued: Issued) -> dict[str, Any]:
    call = issued.call
    return {
        "call_id": issued.call_id,
        "tool": call.canonical,
        "skill": call.skill,
        "status": call.status,
        "reason": call.reason,
        "by_provider": call.result is not None,
    }
