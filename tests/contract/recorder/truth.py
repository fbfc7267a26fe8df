"""
What a recording ought to be counted as.

It is built from the script alone: what was issued, in which session, which
sessions were forked and deleted. The database is never asked.

An invocation of `truth.json` has no session when a sub-agent made it; then it
has the `parent` session instead. `open` says that nothing in the database
tells an abandoned call from a running one; `inner` are calls inside `execute`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from contract.recorder.script import Issued
from contract.recorder.turns import Turns


@dataclass(slots=True, eq=False)
class _Entry:
    session: str | None
    issued: Issued
    version: str
    parent: str | None = None
    closed: bool = False

    def document(self) -> dict[str, Any]:
        call = self.issued.call
        record: dict[str, Any] = {
            "session": self.session,
            "scene": self.issued.scene,
            "step": self.issued.step,
            "call_id": self.issued.call_id,
            "tool": call.tool,
            "canonical": call.canonical,
            "skill": call.skill,
            "status": call.status,
            "reason": call.reason,
            "version": self.version,
        }
        if self.parent:
            record["parent"] = self.parent
        if call.status == "abandoned":
            record["open"] = not self.closed  # nothing in the database says that it is over
        if call.inner:
            record["inner"] = [{"tool": tool, "status": end} for tool, end in call.inner]
        return record


@dataclass(slots=True)
class Truth:
    """
    The ledger of a recording.

    Attributes:
        copies: Calls that forks repeat, in the generation in which they were forked.
        imported: Calls of 1.x that an upgrade repeats in the tables of 2.x, copies among them.
        turns: What belongs to which prompt.
    """

    _entries: list[_Entry] = field(default_factory=list)
    _deleted: list[_Entry] = field(default_factory=list)
    _held: dict[str, list[_Entry]] = field(default_factory=dict)
    _user_skills: list[dict[str, str]] = field(default_factory=list)
    _user_commands: list[dict[str, str]] = field(default_factory=list)
    copies: int = 0
    imported: int = 0
    turns: Turns = field(default_factory=Turns)

    def played(self, session: str, scene: str, issued: Iterable[Issued], version: str) -> None:
        """Note the calls of a run; those of other scenes are its sub-agents'."""
        for earlier in self._held.get(session, []):
            earlier.closed = True
        for one in issued:
            own = one.scene == scene
            entry = _Entry(session if own else None, one, version, None if own else session)
            self._entries.append(entry)
            if own:
                self._held.setdefault(session, []).append(entry)

    def forked(self, origin: str, fork: str) -> None:
        """Note that a fork repeats all that its origin holds so far."""
        self.turns.forked(origin, fork)
        held = self._held.get(origin, [])
        self.copies += len(held)
        self._held[fork] = [*held, *self._held.get(fork, [])]

    def upgraded(self) -> None:
        """Note that the next version imports everything there is."""
        children = sum(entry.session is None for entry in self._entries)
        for entry in self._entries:
            entry.closed = True
        self.imported = children + sum(len(held) for held in self._held.values())

    def deleted(self, session: str) -> None:
        """Note that a session is gone; what a fork of it holds is still counted once."""
        heir = None
        for entry in self._held.pop(session, []):
            heirs = [key for key, held in self._held.items() if entry in held]
            if heirs:
                heir = heirs[0]
                self.copies -= 1
                if entry.session == session:
                    entry.session = heirs[0]
            else:
                self._entries.remove(entry)
                self._deleted.append(entry)
        self.turns.deleted(session, heir)

    def user_skill(self, session: str, skill: str, route: str) -> None:
        """Note a skill that the user invoked."""
        self._user_skills.append({"session": session, "skill": skill, "route": route})

    def user_command(self, session: str, command: str) -> None:
        """Note a command that the user typed: not an invocation."""
        self._user_commands.append({"session": session, "command": command})

    def document(self, version: str, recorded_at_ms: int) -> dict[str, Any]:
        """Return what goes into `truth.json`."""
        return {
            "version": version,
            "recorded_at_ms": recorded_at_ms,
            "invocations": [entry.document() for entry in self._entries],
            "deleted": [entry.document() for entry in self._deleted],
            "copies": self.copies,
            "imported": self.imported,
            "user_skills": self._user_skills,
            "user_commands": self._user_commands,
            **self.turns.document(),
        }
