"""
File cache: parsed files, read within bounds and again only when they have changed.

Anybody may have put them there.
Nothing here knows what the files mean.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class FileCache(Generic[T]):
    """
    Parsed files; each is parsed again only when its time or size has changed.

    Args:
        parse: Returns what the first bytes of a file come to.
        limit: How many these are.
        has_time: Says whether there is time for one more file; else it is left to the next
            scan, and until then it is what it was.
    """

    def __init__(
        self, parse: Callable[[bytes], T | None], limit: int, has_time: Callable[[], bool]
    ) -> None:
        self._parse = parse
        self._limit = limit
        self._has_time = has_time
        self._kept: dict[str, tuple[object, T | None]] = {}
        self._seen: dict[str, tuple[object, T | None]] = {}

    def get(self, path: str) -> T | None:
        """Parse the first bytes of a regular file; anything else gives None."""
        if path not in self._seen:
            self._seen[path] = self._read(path)
        return self._seen[path][1]

    def _read(self, path: str) -> tuple[object, T | None]:
        try:
            facts = Path(path).stat()
            version = (facts.st_mtime_ns, facts.st_size)
            kept = self._kept.get(path)
            if kept and kept[0] == version:
                return kept
            if not stat.S_ISREG(facts.st_mode):
                return version, None
            if not self._has_time():
                return kept or (None, None)
            # O_NONBLOCK: a pipe that took the file's place since stat must not block us.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                return version, self._parse(file.read(self._limit))
        except (OSError, ValueError):
            return None, None

    def forget_unseen(self) -> None:
        """End a scan: drop the files that were not asked for in it."""
        self._kept, self._seen = self._seen, {}
