"""
Makes a talkative database of any other: text and reasoning are a share of all there is.

Sits between a writer and the file, and knows how a row of either generation holds what
a model says.  Of 1.x it adds parts, many to a step, as models write them that think
between two calls; of 2.x, where a row is a whole step, it makes what is said longer.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from opencode_exporter.demo import texts
from opencode_exporter.demo.ids import Ids
from opencode_exporter.demo.rows import Put, text

_KINDS: Final = ("reasoning", "reasoning", "text")
_BEGIN: Final = '"type":"step-start"'
_LONGEST: Final = 60_000


class Prose:
    """
    Writes rows, and what is missing of text and reasoning beside them.

    Args:
        put: Writes a row.
        share: Of all parts of messages, and of their bytes; below 1.
        rng: Chooses what is said.
    """

    def __init__(self, put: Put, share: float, rng: Random) -> None:
        self._put = put
        self._share = share
        self._rng = rng
        self._ids = Ids(rng)
        self._all = self._said = 0
        self._all_bytes = self._said_bytes = 0

    def __call__(self, table: str, values: tuple[Any, ...]) -> None:
        """Write a row."""
        if table == "session_message" and values[2] == "assistant":
            values = (*values[:-1], self._longer(values[-1]))
        self._put(table, values)
        if table == "part":
            data = values[-1]
            self._note(data, is_said=data.startswith(('{"type":"text"', '{"type":"reasoning"')))
            if _BEGIN in data:
                self._speak(values)

    def _note(self, data: str, *, is_said: bool) -> None:
        self._all, self._all_bytes = self._all + 1, self._all_bytes + len(data)
        if is_said:
            self._said, self._said_bytes = self._said + 1, self._said_bytes + len(data)

    def _speak(self, values: tuple[Any, ...]) -> None:
        """Write the parts that are missing, behind the one that begins a step."""
        _, message, session, created, *_ = values
        parts = round(self._missing(self._all, self._said))
        size = self._missing(self._all_bytes, self._said_bytes) / max(1, parts)
        for _ in range(parts):
            times = {"start": created, "end": created + 40}
            said = {"type": self._rng.choice(_KINDS), "text": self._words(size), "time": times}
            data, key = text(said), self._ids.ascending("prt", created)
            self._put("part", (key, message, session, created, created + 40, data))
            self._note(data, is_said=True)

    def _longer(self, data: str) -> str:
        """Return a step of 2.x that says more."""
        self._note(data, is_said=False)
        size = self._missing(self._all_bytes, self._said_bytes) / 2
        step = json.loads(data)
        said = [{"type": kind, "text": self._words(size)} for kind in ("reasoning", "text")]
        step["content"] = [*said, *step.get("content", ())]
        longer = text(step)
        self._all_bytes += len(longer) - len(data)
        self._said_bytes += len(longer) - len(data)
        return longer

    def _missing(self, whole: int, said: int) -> float:
        """Return how much more has to be said until it is the share."""
        return max(0.0, (self._share * whole - said) / (1 - self._share))

    def _words(self, size: float) -> str:
        """Return a text of that length on average."""
        length = self._rng.expovariate(1 / size) if size else 0
        return texts.cut(self._rng, max(1, min(_LONGEST, round(length))))
