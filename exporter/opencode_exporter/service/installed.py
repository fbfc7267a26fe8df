"""
What is installed: skills and MCP servers on disk, looked for where the sources' sessions are.

Knows which directories each source names; what is read of the disk is the scanner's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opencode_exporter.catalog.vocabulary import InstalledSkill
from opencode_exporter.clock import Clock
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.session_rows import directories
from opencode_exporter.source.skills.scanner import SkillScanner

_SCAN_EVERY_S: Final = 60.0


class Installed:
    """
    Skills and MCP servers of the last scan.

    Args:
        scanner: Looks for them.
        names: Is told which names of skills are real.
        clock: A stopwatch.

    Attributes:
        skills: The skills.
        servers: The names of the servers.
    """

    def __init__(self, scanner: SkillScanner, names: RealNames, clock: Clock) -> None:
        self._scanner = scanner
        self._names = names
        self._clock = clock
        self._scanned_s = clock.monotonic() - _SCAN_EVERY_S
        self._directories: dict[str, set[tuple[str, str]]] = {}
        self.skills: frozenset[InstalledSkill] = frozenset()
        self.servers: frozenset[str] = frozenset()

    def look(self, source: str, reader: Reader) -> None:
        """Learn where a source's sessions are; scan before anything of a new one is counted."""
        is_new = source not in self._directories
        if is_new or self._is_due():
            self._directories[source] = directories(reader)
        if is_new:
            self._scan()

    def scan_when_due(self) -> None:
        """Scan again if the last scan was a minute ago."""
        if self._is_due():
            self._scan()

    def _is_due(self) -> bool:
        return self._clock.monotonic() - self._scanned_s >= _SCAN_EVERY_S

    def _scan(self) -> None:
        everywhere = set().union(*self._directories.values())
        self.skills = self._scanner.scan(
            (Path(directory), Path(worktree)) for directory, worktree in everywhere
        )
        self.servers = self._scanner.servers
        self._names.note_installed(skill.name for skill in self.skills)
        self._scanned_s = self._clock.monotonic()
