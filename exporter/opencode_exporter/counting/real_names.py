"""
Real names: which tools and skills exist, of all that models ask for.

A model may name anything.  What the source does not vouch for is real if it is built
in, installed, or was seen before; all else stays unknown, and is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from opencode_exporter.catalog.vocabulary import CATEGORIES
from opencode_exporter.counting.labels import Slots, clean
from opencode_exporter.events import OVERFLOW, UNKNOWN, Invocation, Step


class RealNames:
    """What is known to exist; ``slots`` are the names that are labels already."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._installed_skills: frozenset[str] = frozenset()

    def go_back(self, slots: Slots) -> None:
        """Forget the names that have taken slots since other ones were read from disk."""
        self.slots = slots

    def note_installed(self, skills: Iterable[str]) -> None:
        """Note which skills are installed now."""
        self._installed_skills = frozenset(skills)

    def knows(self, label: str, name: str) -> bool:
        """Return whether a name is known to exist: built in, installed, or counted before."""
        if label == "tool":
            return name in CATEGORIES or self.slots.holds(label, name)
        return name in self._installed_skills or self.slots.holds(label, name)

    def keep_known(self) -> None:
        """Give a place to each name that is shown before anything is counted for it."""
        self.slots.keep("tool", sorted(CATEGORIES))
        self.slots.keep("skill", sorted(map(clean, self._installed_skills)))

    def has(self, tool: str, *, vouched: bool) -> bool:
        """Return whether a tool exists."""
        return vouched or self.knows("tool", clean(tool))

    def shown(self, call: Invocation) -> str:
        """Return the label of a call that runs."""
        return clean(call.tool) if self.has(call.tool, vouched=call.vouched) else UNKNOWN

    def label(self, label: str, name: str, *, vouched: bool = True) -> str:
        """Return the label of a name that has been counted; takes no slot."""
        name = clean(name)
        if name in (UNKNOWN, OVERFLOW) or self.slots.holds(label, name):
            return name
        return OVERFLOW if vouched or self.knows(label, name) else UNKNOWN

    def of_call(self, call: Invocation) -> Invocation:
        """Return an open call; names that are not real are unknown."""
        if not self.has(call.tool, vouched=call.vouched):
            call = msgspec.structs.replace(call, tool=UNKNOWN)
        if call.skill is not None and not self.knows("skill", clean(call.skill)):
            call = msgspec.structs.replace(call, skill=UNKNOWN)
        return call

    def of_step(self, step: Step) -> Step:
        """Return a step; names of its calls that are not real are unknown."""
        if all(self.has(call.tool, vouched=call.vouched) for call in step.calls):
            return step
        calls = tuple(
            call
            if self.has(call.tool, vouched=call.vouched)
            else msgspec.structs.replace(call, tool=UNKNOWN)
            for call in step.calls
        )
        return msgspec.structs.replace(step, calls=calls)
