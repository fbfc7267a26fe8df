"""
Where OpenCode's databases are, and what each is called in metrics.

Reads the environment only through the mapping that it is given, and opens no database.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from opencode_exporter.errors import ConfigError, printable

_DATABASE: Final = re.compile(r"opencode(-[\w.+-]+)?\.db")


def databases(named: tuple[Path, ...], environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """
    Return the databases to poll now, whether they are there yet or not.

    Args:
        named: Files or directories given with ``--source.path``; if there are none,
            ``OPENCODE_DB``, else every ``opencode*.db`` of the data directory.
        environ: The environment.
        home: The user's home directory.

    Raises:
        OSError: No more files may be opened, so that nobody knows what is there.
    """
    found: list[Path] = []
    for path, is_searched in _places(named, environ, home):
        found += (_within(path) or [path / "opencode.db"]) if is_searched else [path]
    return tuple(dict.fromkeys(found))


def directories(
    named: tuple[Path, ...], environ: Mapping[str, str], home: Path
) -> tuple[Path, ...]:
    """
    Return the directories in which databases change or may appear.

    The arguments and the error are those of `databases`.
    """
    found = [
        path if is_searched else path.parent for path, is_searched in _places(named, environ, home)
    ]
    # SQLite writes beside the target of a link, and nothing happens where the link is.
    links = filter(os.path.islink, databases(named, environ, home))
    found += [Path(os.path.realpath(link)).parent for link in links]
    return tuple(dict.fromkeys(found))


def _places(
    named: tuple[Path, ...], environ: Mapping[str, str], home: Path
) -> Iterator[tuple[Path, bool]]:
    """Yield each place, and whether it is a directory to search for databases."""
    data = _data_directory(environ, home)
    override = environ.get("OPENCODE_DB", "")
    if not named and override and override != ":memory:":
        named = (data / expanded(override),)
    for path in named or (data,):
        # Path.is_dir raises where we may not look, which is the poll's to say.
        yield path, os.path.isdir(path) or not named  # noqa: PTH112


def _data_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Return OpenCode's data directory, the same on Linux and macOS."""
    base = environ.get("XDG_DATA_HOME")
    return (Path(base) if base else home / ".local" / "share") / "opencode"


def home_directory() -> Path:
    """
    Return the user's home.

    Raises:
        ConfigError: There is none: no HOME, and a user without a name.
    """
    try:
        return Path.home()
    except RuntimeError as err:
        raise ConfigError("there is no home directory", hint="set HOME") from err


def expanded(path: str | os.PathLike[str]) -> Path:
    """
    Return a path with a user's home for its tilde.

    Raises:
        ConfigError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as err:
        raise ConfigError(
            f"{os.fspath(path)} begins with the home of a user that is not known here",
            hint="write the whole path",
        ) from err


def _within(directory: Path) -> list[Path]:
    """Return the databases in a directory: no ``-wal``, no backups."""
    try:
        return sorted(path for path in directory.iterdir() if _DATABASE.fullmatch(path.name))
    except OSError as err:
        if err.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return []


def beside(database: Path) -> set[str]:
    """Return the real path of a database, and those of SQLite's files beside it."""
    return {
        os.path.realpath(f"{path}{end}")
        for path in (database, os.path.realpath(database))
        for end in ("", "-wal", "-shm", "-journal")
    }


def is_source(path: Path, named: tuple[Path, ...], environ: Mapping[str, str], home: Path) -> bool:
    """
    Return whether a file is a database to poll, belongs to one, or would be found as one.

    It need not be there yet; the other arguments are those of `databases`.
    """
    real = Path(os.path.realpath(path))
    is_found = _DATABASE.fullmatch(real.name) and any(
        is_searched and os.path.realpath(where) == str(real.parent)
        for where, is_searched in _places(named, environ, home)
    )
    files = databases(named, environ, home)
    return bool(is_found) or any(str(real) in beside(file) for file in files)


def label_sources(paths: Sequence[Path]) -> dict[str, Path]:
    """
    Return each source by its name in metrics: its file's name, as it can be printed.

    Further files of the same name are numbered in the order given; a path would
    show users' names.
    """
    names: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        name = printable(path.name)
        label, count = name, 1
        while label in names:
            count += 1
            label = f"{name}~{count}"
        names[label] = path
    return names
