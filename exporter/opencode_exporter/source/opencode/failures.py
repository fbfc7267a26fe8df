"""
Failures: what an operator is told when SQLite or the system cannot read a source.

A fact and a hint each.  Texts of SQLite's own are told on, as they never hold row content.
"""

from __future__ import annotations

import errno

import apsw

from opencode_exporter.errors import SourceError, SourceUnsupportedError


def unreadable(err: OSError) -> SourceError:
    """Return what is told where the system refuses a file."""
    passes = err.errno in (errno.EMFILE, errno.ENFILE)
    return SourceError(
        f"a file of the database cannot be read ({err.strerror or type(err).__name__})",
        hint="it is tried again; if it stays, raise the limit of open files"
        if passes
        else "let the exporter's user read the data directory",
    )


def as_told(err: Exception) -> Exception:
    """Return what is told of an error; one that is not the source's stays as it is."""
    if isinstance(err, apsw.Error):
        return sqlite_error(err)
    if isinstance(err, UnicodeDecodeError):
        return SourceError(
            "a name or an id in the database is not UTF-8",
            hint="'PRAGMA integrity_check' says whether it is damaged; restore a backup",
        )
    return err


def hot_journal() -> SourceError:
    """Return what is told where a writer was killed that did not use a WAL."""
    return SourceError(
        "a program was killed while it wrote, and the -journal file beside the database has to "
        "be undone by one that may write",
        hint="start OpenCode once, or run 'sqlite3 opencode.db \"PRAGMA user_version\"' while "
        "it is stopped; do not delete the -journal file",
    )


def sqlite_error(err: apsw.Error) -> SourceError:
    """Return what is told of an error of SQLite's."""
    if isinstance(err, apsw.BusyError | apsw.LockedError):
        return SourceError(
            "the database is locked", hint="it is tried again; close what holds it for long"
        )
    if isinstance(err, apsw.NotADBError):
        return SourceUnsupportedError(
            "the file is not an SQLite database", hint="name OpenCode's own file with --source.path"
        )
    if isinstance(err, apsw.CorruptError):
        return SourceError(
            "the database is corrupt",
            hint="'PRAGMA integrity_check' says where; save what there is of a copy with "
            "'sqlite3 copy.db .recover | sqlite3 new.db', or restore a backup",
        )
    if isinstance(err, apsw.AuthError) or "no such column: rowid" in str(err):
        return SourceUnsupportedError(
            "a view, or a table without rowids, is where OpenCode has a table",
            hint=f"name OpenCode's own file with --source.path (SQLite says: {err})",
        )
    if getattr(err, "extendedresult", 0) == apsw.SQLITE_READONLY_ROLLBACK:
        return hot_journal()
    # The text of SQLite's own message names tables and files, never row content.
    return SourceError(f"SQLite says: {err}", hint="it is tried again")
