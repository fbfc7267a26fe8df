"""
The JSON of a call: what it was asked and what it recorded, as both generations write it.

Pure.  What a model or an old version wrote may have any type: that is as if it were
not there, and nothing here raises.  Knows what fields are called and not what they mean.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from opencode_exporter.decode.values import REFUSED, Unusable, loads, mapping, whole

Unread = msgspec.Raw | msgspec.UnsetType
"""JSON that is skipped, and read where somebody asks for it."""


class Asked(msgspec.Struct, gc=False):
    """A call's input, as far as it is asked for."""

    filePath: Any = None  # noqa: N815  # OpenCode's name, as those below
    path: Any = None
    patchText: Any = None  # noqa: N815
    command: Any = None
    url: Any = None
    name: Any = None
    id: Any = None
    tool: Any = None
    error: Any = None


class Recorded(msgspec.Struct, gc=False):
    """A call's metadata, as far as it is asked for."""

    exit: Any = None
    exists: Any = None
    sessionId: Any = None  # noqa: N815
    sessionID: Any = None  # noqa: N815
    name: Any = None
    truncated: Any = None
    timeout: Any = None
    interrupted: Any = None
    files: Unread = msgspec.UNSET
    filediff: Unread = msgspec.UNSET
    results: Unread = msgspec.UNSET


class Diff(msgspec.Struct, gc=False):
    """What happened to a file, as far as it is asked for."""

    movePath: Any = None  # noqa: N815
    filePath: Any = None  # noqa: N815
    file: Any = None
    relativePath: Any = None  # noqa: N815
    type: Any = None
    status: Any = None
    additions: Any = None
    deletions: Any = None


_NOTHING: Final = Diff()
DIFF_FIELDS: Final = Diff.__struct_fields__
"""What is asked of what happened to a file."""


class _Result(msgspec.Struct, gc=False):
    filediff: Diff | None = None


_asked = msgspec.json.Decoder(Asked).decode
_diffs = msgspec.json.Decoder(list[Diff]).decode
_diff = msgspec.json.Decoder(Diff).decode
_results = msgspec.json.Decoder(list[_Result]).decode


def parse_asked(raw: object) -> Asked:
    """Return what an input says; arguments that still stream are text, and say nothing."""
    if not isinstance(raw, msgspec.Raw):
        return Asked()
    try:
        return _asked(raw)
    except REFUSED:
        return Asked(**asked_fields(_leniently(raw)))


def asked_fields(given: object) -> dict[str, Any]:
    """Return the texts of an input that are read, without lone surrogates."""
    found = mapping(given)
    names = Asked.__struct_fields__
    return {key: whole(found[key]) for key in names if isinstance(found.get(key), str)}


def asked_raw(given: object) -> msgspec.Raw:
    """Return an input as `parse_asked` takes it, of a row that was read leniently."""
    return msgspec.Raw(msgspec.json.encode(asked_fields(given)))


def recorded_fields(given: object) -> dict[str, Any]:
    """Return the fields of `Recorded`, of a row that was read leniently."""
    found = mapping(given)
    fields = {key: whole(found[key]) for key in Recorded.__struct_fields__ if key in found}
    for key in ("files", "filediff", "results"):
        if key in fields:
            fields[key] = _unread(fields[key])
    return fields


def _unread(value: Any) -> Unread:
    try:
        return msgspec.Raw(json.dumps(value).encode())
    except (ValueError, RecursionError):
        return msgspec.UNSET


def _leniently(raw: msgspec.Raw) -> Any:
    try:
        return loads(bytes(raw))
    except Unusable:
        return None


def listed_diffs(recorded: Recorded) -> list[Diff]:
    """Return the diffs of ``files``: those of a patch, and of all edits of 2.x."""
    if not isinstance(recorded.files, msgspec.Raw):
        return []
    try:
        return _diffs(recorded.files)
    except REFUSED:
        return [_odd_diff(one) for one in _objects(_leniently(recorded.files))]


def single_diffs(recorded: Recorded) -> list[Diff]:
    """Return the diffs of 1.x's ``edit`` and of each edit of ``multiedit``."""
    found: list[Diff] = []
    if isinstance(recorded.filediff, msgspec.Raw):
        try:
            found.append(_diff(recorded.filediff))
        except REFUSED:
            found += [_odd_diff(one) for one in _objects([_leniently(recorded.filediff)])]
    if isinstance(recorded.results, msgspec.Raw):
        try:
            found += [one.filediff for one in _results(recorded.results) if one.filediff]
        except REFUSED:
            odd = _objects(_leniently(recorded.results))
            found += [_odd_diff(one) for one in _objects([each.get("filediff") for each in odd])]
    return [diff for diff in found if diff != _NOTHING]


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _odd_diff(given: dict[str, Any]) -> Diff:
    return Diff(**{key: whole(given[key]) for key in Diff.__struct_fields__ if key in given})
