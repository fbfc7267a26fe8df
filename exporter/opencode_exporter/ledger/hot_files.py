"""
Hot files: how often each file was edited in the last days, where ``--files.top`` asks for it.

Kept in the ledger by day.  The only thing there that holds paths: they are deleted
when the flag is turned off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from opencode_exporter.events import Step

DAYS: Final = 7
_DAY_MS: Final = 86_400_000

Edits = dict[tuple[str, int], int]
"""By path and day (since 1970): how many edits."""


def without_paths(step: Step) -> Step:
    """Return an open step without paths, which are not stored: its end tells them again."""
    if not any(file.path for call in step.calls for file in call.files):
        return step
    calls = tuple(
        msgspec.structs.replace(
            call, files=tuple(msgspec.structs.replace(file, path="") for file in call.files)
        )
        for call in step.calls
    )
    return msgspec.structs.replace(step, calls=calls)


class HotFiles:
    """
    The files that are edited most.

    Args:
        kept: What the ledger has.
        top: How many to show; 0: none, and none is kept.
        now: Tells Unix ms.
    """

    def __init__(
        self, kept: Mapping[tuple[str, int], int], top: int, now: Callable[[], int]
    ) -> None:
        self._edits: Edits = dict(kept) if top else {}
        self._top = top
        self._now = now
        self._changed: Edits = {} if top else dict.fromkeys(kept, 0)

    def count_edits(self, step: Step) -> None:
        """Count the edits of files by a step."""
        if not self._top:
            return
        for call in step.calls:
            for file in call.files:
                if file.path and file.operation != "read":
                    key = (file.path, (call.ended or step.created) // _DAY_MS)
                    self._edits[key] = self._changed[key] = self._edits.get(key, 0) + 1

    def changes(self) -> Edits:
        """Return the numbers that changed since the last time; 0 for a day that is over."""
        first = self._first()
        for key in [key for key in self._edits if key[1] < first]:
            del self._edits[key]
            self._changed[key] = 0
        changed, self._changed = self._changed, {}
        return changed

    def shown(self) -> tuple[tuple[str, int], ...]:
        """Return the most edited files of the last days, with how often."""
        first, sums = self._first(), dict[str, int]()
        for (path, day), edits in self._edits.items():
            if day >= first:
                sums[path] = sums.get(path, 0) + edits
        return tuple(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))[: self._top])

    def _first(self) -> int:
        return self._now() // _DAY_MS - DAYS + 1
