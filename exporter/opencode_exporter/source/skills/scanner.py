"""
Skills: what is installed on disk, by the names OpenCode itself would use.

It looks where OpenCode 1.18 looks; a test compares the two.
No file or folder that someone put there can stop a scan or make it endless:
what is broken, unreadable or too large is passed over, and a scan looks for so many
folders and reads for so long, whatever lies there.
Nothing here knows about the source or about what has been invoked.
"""

import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from opencode_exporter.catalog.vocabulary import BUILT_IN, InstalledSkill, Scope
from opencode_exporter.clock import Clock, SystemClock
from opencode_exporter.counting.labels import clean
from opencode_exporter.events import LONGEST_PATH, OVERFLOW, UNKNOWN
from opencode_exporter.source.file_cache import FileCache
from opencode_exporter.source.opencode.config import OpenCodeConfig, parse_config
from opencode_exporter.source.skills.front_matter import skill_name

log = logging.getLogger(__name__)

T = TypeVar("T")
_SKILL_FILE: Final = "SKILL.md"
_SKILL_BYTES: Final = 256 * 1024  # front matter stands at the top
_CONFIG_BYTES: Final = 1024 * 1024
_FOLDER_ENTRIES: Final = 20_000  # below one skills folder
_SCAN_ENTRIES: Final = 200_000  # below all of them
_SCAN_FOLDERS: Final = 10_000  # above the directories of sessions, and listed: two seconds
_SCAN_READS_S: Final = 5.0  # files that are new or have changed; the others' turn comes next time
_MOST_TOLD: Final = 20
_DEEPEST: Final = 100  # nobody works further down, and each folder above is looked into
_SEEN_WHOLE: Final = frozenset({".claude", ".agents"})  # elsewhere hidden folders do not count
# OpenCode does enter these, at a price that is not worth paying every minute.
_NEVER_ENTERED: Final = frozenset({"node_modules", ".git"})


class SkillScanner:
    """Finds skills again and again, reading only files that have changed. Not for two threads."""

    def __init__(self, home: Path, environ: Mapping[str, str], clock: Clock | None = None) -> None:
        self._home = home
        self._environ = environ
        self._clock = clock or SystemClock()
        self._names = FileCache(_skill_name, _SKILL_BYTES, self._has_time)
        self._configs = FileCache(parse_config, _CONFIG_BYTES, self._has_time)
        self._reads_until = 0.0
        self._folders_left = 0
        self._told: set[str] = set()
        self.servers: frozenset[str] = frozenset()
        """MCP servers that the configuration files of the last scan name."""

    def scan(self, directories: Iterable[tuple[Path, Path]]) -> frozenset[InstalledSkill]:
        """
        Find every skill that a session in one of the directories could load.

        Args:
            directories: Directory and worktree of each session known; they need not exist.

        Returns:
            The built-in skill, the user's, and those of the projects.  A file that
            can be reached as both the user's and a project's is the user's.
        """
        found = set(BUILT_IN)
        self._servers: set[str] = set()
        self._reads_until = self._clock.monotonic() + _SCAN_READS_S
        self._folders_left = _SCAN_FOLDERS
        walk = _Walk()
        for folder, scope in self._folders(sorted(set(directories))):
            hidden = Path(folder).parent.name in _SEEN_WHOLE
            for path in walk.skill_files(folder, hidden=hidden):
                if name := self._names.get(path):
                    found.add(InstalledSkill(name, scope))
            if walk.cut_short:
                self._tell("skills folder too large, not all of it is read", folder=folder)
        self._names.forget_unseen()
        self._configs.forget_unseen()
        self.servers = frozenset(self._servers)
        return frozenset(found)

    def _tell(self, what: str, **more: str) -> None:
        """Have it in the log, once; after some, nobody learns from more."""
        key = f"{what} {more}"
        if key not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(key)
            log.warning(what, extra=more)

    def _has_time(self) -> bool:
        if self._clock.monotonic() < self._reads_until:
            return True
        self._tell("skills take long to read, the rest is read later")
        return False

    def _some(self, folders: Iterable[T]) -> Iterator[T]:
        """Yield folders, as long as the scan may look for more."""
        for folder in folders:
            if self._folders_left <= 0:
                self._tell("too many folders in which skills may be, not all are looked into")
                return
            self._folders_left -= 1
            yield folder

    def _folders(self, directories: list[tuple[Path, Path]]) -> Iterator[tuple[str, Scope]]:
        """
        Yield the folders to walk, the user's first.

        A project's ``skills.paths`` replaces the user's in that project only, so
        the user's are installed all the same.
        """
        own = self._own_config_folders()
        for base in (self._home / ".claude", self._home / ".agents"):
            yield f"{base}/skills", "user"
        for base in own:
            yield f"{base}/skill", "user"
            yield f"{base}/skills", "user"
        own_paths = [path for file in self._own_config_files(own) for path in self._listed(file)]
        yield from ((path, "user") for path in own_paths if Path(path).is_absolute())

        done: set[Path] = set()
        for directory, worktree in directories:
            if not directory.is_absolute() or len(directory.parts) > _DEEPEST:
                continue
            paths = dict.fromkeys(own_paths)
            for folder in self._some(_upwards(directory, worktree)):
                for file in _project_config_files(folder):
                    paths.update(dict.fromkeys(self._listed(file)))
                if folder not in done:
                    done.add(folder)
                    yield from ((path, "project") for path in _project_folders(folder))
            # Relative to the session's directory, not to the file that lists it.
            yield from ((str(directory / path), "project") for path in self._some(paths))

    def _own_config_folders(self) -> list[Path]:
        xdg = self._environ.get("XDG_CONFIG_HOME")
        extra = self._environ.get("OPENCODE_CONFIG_DIR")
        folders = [Path(xdg) if xdg else self._home / ".config"]
        folders = [folders[0] / "opencode", self._home / ".opencode"]
        return [*folders, Path(extra)] if extra else folders

    def _own_config_files(self, folders: list[Path]) -> list[Path]:
        names = ("config.json", "opencode.json", "opencode.jsonc")
        extra = self._environ.get("OPENCODE_CONFIG")
        files = [folder / name for folder in folders for name in names]
        return [*files, Path(extra)] if extra else files

    def _listed(self, file: Path) -> Iterator[str]:
        """Yield the folders that a config file lists, with ``~/`` and ``{env:X}`` filled in."""
        config = self._configs.get(str(file)) or OpenCodeConfig()
        self._servers.update(config.servers)
        for path in config.skill_paths:
            filled = re.sub(r"\{env:([^}]+)\}", lambda at: self._environ.get(at[1], ""), path)
            if len(filled) <= LONGEST_PATH:
                yield f"{self._home}/{filled[2:]}" if filled.startswith("~/") else filled


def _upwards(directory: Path, worktree: Path) -> Iterator[Path]:
    """Yield a session's directory and its parents as far as the worktree, else to the root."""
    for folder in (directory, *directory.parents):
        yield folder
        if folder == worktree:
            return


def _project_folders(folder: Path) -> Iterator[str]:
    for below in (".claude/skills", ".agents/skills", ".opencode/skill", ".opencode/skills"):
        yield f"{folder}/{below}"


def _project_config_files(folder: Path) -> Iterator[Path]:
    for base in (folder, folder / ".opencode"):
        yield base / "opencode.json"
        yield base / "opencode.jsonc"


@dataclass
class _Walk:
    """One pass over folders: enters each at most once, whatever links lead to it."""

    cut_short: bool = False
    _left: int = _SCAN_ENTRIES
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def skill_files(self, top: str, *, hidden: bool) -> list[str]:
        """List the SKILL.md below a folder, those near the top first."""
        files: list[str] = []
        queue = deque([top])
        left = granted = min(_FOLDER_ENTRIES, self._left)
        while queue and left > 0:
            for entry in self._entries(queue.popleft(), left):
                left -= 1
                if entry.name == _SKILL_FILE:
                    files.append(entry.path)
                elif entry.name in _NEVER_ENTERED or (entry.name[0] == "." and not hidden):
                    continue
                elif _is_folder(entry):
                    queue.append(entry.path)
        self.cut_short = left <= 0
        self._left -= granted - left
        return files

    def _entries(self, folder: str, limit: int) -> list[os.DirEntry[str]]:
        try:
            facts = Path(folder).stat()
            if (facts.st_dev, facts.st_ino) in self._entered:
                return []
            self._entered.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder) as entries:
                return [entry for entry, _ in zip(entries, range(limit), strict=False)]
        except (OSError, ValueError):  # ValueError: a NUL or a lone surrogate in the path
            return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _skill_name(head: bytes) -> str | None:
    """Return the name in the front matter, as the label of its loads has it."""
    name = skill_name(head, is_whole=len(head) < _SKILL_BYTES)
    label = clean(name) if name is not None and not name.isspace() else UNKNOWN
    return None if label in (UNKNOWN, OVERFLOW) else label
