"""
Settings: what flags, environment and configuration file came to, frozen.

Knows where OpenCode keeps its data and where our ledger goes.  Reads the
environment only through the mapping that it is given.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.filters import Filters
from opencode_exporter.expose.shown import ProjectNames

DEFAULT_LISTEN: Final = "127.0.0.1:10777"
_DATABASE: Final = re.compile(r"opencode(-[\w.+-]+)?\.db")
_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_DAY_MS: Final = 86_400_000
_UNITS_MS: Final = (365 * _DAY_MS, 7 * _DAY_MS, _DAY_MS, 3_600_000, 60_000, 1000, 1)
_DURATION_LENGTH: Final = 40
_LONGEST_MS: Final = (1 << 63) // 1_000_000  # 292 years: Prometheus counts nanoseconds


@dataclass(frozen=True)
class Settings:
    """Everything that one run was told.  Durations are milliseconds."""

    source_paths: tuple[Path, ...] = ()
    ledger_path: Path | None = None  # None: in memory
    history: Literal["count", "skip"] = "count"
    abandon_after_ms: int = 6 * 3_600_000
    series_limit: int = 2000
    files_top: int = 0  # how many of the most edited files are shown
    since_ms: int = 0  # older events do not count; Unix
    only_project: str = ""  # others do not count; empty: every one
    project_names: ProjectNames = "name"
    filters: Filters = field(default_factory=Filters)
    force_polling: bool = False
    poll_interval_ms: int = 30_000
    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    allowed_hosts: tuple[str, ...] = ()
    telemetry_path: str = "/metrics"
    created_timestamps: bool = False
    web_config: Path | None = None


def parse_duration(text: str) -> int:
    """
    Return milliseconds of a duration in Prometheus' grammar: 90s, 6h, 1d12h, 2w, 1y.

    Raises:
        ConfigError: It is not one, zero, or longer than Prometheus takes.
    """
    found = _DURATION.fullmatch(text) if len(text) <= _DURATION_LENGTH else None
    total = (
        sum(int(n) * unit for n, unit in zip(found.groups(), _UNITS_MS, strict=True) if n)
        if found
        else 0
    )
    if not total:
        raise ConfigError(
            f"{text!r} is not a duration", hint="write for example 90s, 6h, 1d12h or 2w"
        )
    if total > _LONGEST_MS:
        raise ConfigError(f"{text!r} is too long", hint="write a duration of at most 292y")
    return total


def data_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Return OpenCode's data directory, the same on Linux, macOS and Windows."""
    base = environ.get("XDG_DATA_HOME")
    return (Path(base) if base else home / ".local" / "share") / "opencode"


def state_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Return the directory of our own state."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else home / ".local" / "state") / "opencode-exporter"


def sources(
    named: tuple[Path, ...], environ: Mapping[str, str], home: Path
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """
    Return the databases to poll now, and the directories in which others may appear.

    Args:
        named: Files or directories given with ``--source.path``; if there are none,
            ``OPENCODE_DB``, else every ``opencode*.db`` of the data directory.
        environ: The environment.
        home: The user's home directory.

    Raises:
        OSError: No more files may be opened, so that nobody knows what is there.
    """
    files: list[Path] = []
    directories: list[Path] = []
    for path, is_searched in _searched(named, environ, home):
        if is_searched:
            directories.append(path)
            files += _databases(path) or [path / "opencode.db"]
        else:
            directories.append(path.parent)
            files.append(path)
    # SQLite writes beside the target of a link, and nothing happens where the link is.
    links = [file for file in files if os.path.islink(file)]  # noqa: PTH114  # as above
    directories += [Path(os.path.realpath(link)).parent for link in links]
    return tuple(dict.fromkeys(files)), tuple(dict.fromkeys(directories))


def _searched(
    named: tuple[Path, ...], environ: Mapping[str, str], home: Path
) -> Iterator[tuple[Path, bool]]:
    """Yield what is named, and whether it is a directory in which databases are looked for."""
    data = data_directory(environ, home)
    override = environ.get("OPENCODE_DB", "")
    if not named and override and override != ":memory:":
        named = (data / Path(override).expanduser(),)
    for path in named or (data,):
        # Path.is_dir raises where we may not look, which is the poll's to say.
        yield path, os.path.isdir(path) or not named  # noqa: PTH112


def beside(database: Path) -> set[str]:
    """Return where a database really is, and what SQLite keeps beside it."""
    return {
        os.path.realpath(f"{path}{end}")
        for path in (database, os.path.realpath(database))
        for end in ("", "-wal", "-shm", "-journal")
    }


def is_source(path: Path, named: tuple[Path, ...], environ: Mapping[str, str], home: Path) -> bool:
    """
    Say whether a file is a database to poll or beside one, or would be found as one.

    It need not be there yet; what else is given is as for `sources`.
    """
    real = Path(os.path.realpath(path))
    is_found = _DATABASE.fullmatch(real.name) and any(
        is_searched and os.path.realpath(where) == str(real.parent)
        for where, is_searched in _searched(named, environ, home)
    )
    files, _ = sources(named, environ, home)
    return bool(is_found) or any(str(real) in beside(file) for file in files)


def _databases(directory: Path) -> list[Path]:
    """Return the databases in a directory: no ``-wal``, no backups."""
    try:
        return sorted(path for path in directory.iterdir() if _DATABASE.fullmatch(path.name))
    except OSError as err:
        if err.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return []
