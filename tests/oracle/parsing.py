"""
The JSON of both generations, row by row, as `oracle.model` has it.

Pure and lenient: what has an odd type is not there.  Statuses and canonical
names come from the exporter's tables of texts and names; nothing else does.
"""

from __future__ import annotations

import json
import re
from typing import Any

from opencode_exporter import classify
from oracle.model import Call, Moment, Row

_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_BY_USER = ("The user rejected permission", "The user declined", "PermissionRejectedError")


def obj(value: object) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objs(value: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def word(*values: object, default: str = "_unknown") -> str:
    """Return the first text that is not empty."""
    return next((one for one in values if isinstance(one, str) and one), default)


def number(value: object) -> Moment:
    """Return a whole number, None for anything else."""
    return value if type(value) is int else None


def load(data: Any) -> dict[str, Any]:
    """Return a row's data, an empty object where they are none."""
    try:
        return obj(json.loads(data))
    except (TypeError, ValueError):
        return {}


def tokens(value: object) -> dict[str, int]:
    """Return the five kinds of tokens: "they do not overlap"."""
    given = obj(value)
    cache = obj(given.get("cache"))
    named = {name: number(given.get(name)) or 0 for name in ("input", "output", "reasoning")}
    both = {f"cache_{name}": number(cache.get(name)) or 0 for name in ("read", "write")}
    return named | both


def is_typed(part: dict[str, Any]) -> bool:
    """Say whether a v1 part is a command that the user typed: "is not an invocation"."""
    meta = obj(obj(part.get("state")).get("metadata"))
    by_hand = _ULID.fullmatch(word(part.get("callID"), default="")) is not None
    return part.get("tool") == "bash" and by_hand and not {"exit", "truncated"} & meta.keys()


def _refused(status: str, text: str) -> bool:
    """
    Say whether the user refused a call, which ends the turn.

    Choice: a rule's denial does not (recordings go on after it), and neither does a
    refusal with feedback, which 1.x hands to the model.
    """
    by_user = any(words in text for words in _BY_USER)
    return status == "denied" and by_user and "following feedback" not in text


def v1_call(session: str, message: str, part: dict[str, Any]) -> Call | None:
    """Return the invocation of a tool part; None where the user typed the command."""
    if is_typed(part):
        return None
    state = obj(part.get("state"))
    given, meta, times = (obj(state.get(key)) for key in ("input", "metadata", "time"))
    tool, raw, text = classify.canonical(word(part.get("tool"))), state.get("status"), ""
    status, vouched, reason = "abandoned", raw == "running", ""
    if raw == "completed":
        status, vouched = "completed", True
        text = word(state.get("output"), default="")
        if tool == "invalid":
            asked = word(given.get("tool")), word(given.get("error"), default="")
            (tool, reason), status = classify.refused_call(*asked), "error"
            vouched = False  # the model can ask for that tool itself, and name anything
    elif raw == "error":
        text = word(state.get("error"), default="")
        status, reason = classify.verdict(text)
        vouched = status != "aborted"
    skill = word(meta.get("name"), given.get("name")) if tool == "skill" else ""
    return Call(
        session,
        message,
        word(part.get("callID"), default=""),
        tool,
        status,
        vouched,
        number(times.get("start")),
        number(times.get("end")),
        given,
        meta,
        text,
        skill,
        _refused(status, text),
        word(meta.get("sessionId"), default="") if tool == "subagent" else "",
        reason=reason,
    )


def v2_call(session: str, message: str, item: dict[str, Any]) -> Call:
    """Return the invocation of a content item, with those inside ``execute``."""
    state, times = obj(item.get("state")), obj(item.get("time"))
    given, meta = obj(state.get("input")), obj(state.get("metadata"))
    error = obj(state.get("error"))
    told, kind = (word(error.get(key), default="") for key in ("message", "type"))
    tool, raw = classify.canonical(word(item.get("name"))), state.get("status")
    status, vouched, reason = "abandoned", False, ""
    nested: tuple[tuple[str, str], ...] = ()
    if raw == "completed":
        status, vouched = "completed", True
        if tool == "invalid":  # imported
            asked = word(given.get("tool")), word(given.get("error"), default="")
            (tool, reason), status = classify.refused_call(*asked), "error"
            vouched = False  # the model can ask for that tool itself, and name anything
    elif raw == "error":
        status, reason = classify.verdict(told, kind)
        vouched = status not in {"aborted", "abandoned"} and kind != "tool.input-json"
        tool = "_unknown" if classify.names_no_tool(told) else tool
    if raw in {"completed", "error"}:
        nested = tuple(
            (classify.canonical(word(one.get("tool"))), _nested_status(one))
            for one in objs(meta.get("toolCalls"))
        )
    said = "".join(word(one.get("text"), default="") for one in objs(state.get("content")))
    return Call(
        session,
        message,
        word(item.get("id"), default=""),
        tool,
        status,
        vouched,
        number(times.get("created")),
        number(times.get("completed")) if status != "abandoned" else None,
        given,
        meta,
        told or said,
        word(meta.get("name"), given.get("id"), given.get("name")) if tool == "skill" else "",
        _refused(status, told),
        word(meta.get("sessionID"), meta.get("sessionId"), default="")
        if tool == "subagent"
        else "",
        nested,
        number(times.get("ran")),
        reason,
    )


def _nested_status(one: dict[str, Any]) -> str:
    return "completed" if one.get("status") == "completed" else "error"


def v1_row(key: str, created: int, order: int, data: dict[str, Any]) -> Row:
    """Return a message of v1 without what its parts say; it may still become a note."""
    times, role = obj(data.get("time")), word(data.get("role"), default="")
    row = Row("step" if role == "assistant" else "human", key, created, order, "v1", role=role)
    row.agent = word(data.get("agent"), data.get("mode"))
    if role == "assistant":
        row.completed = number(times.get("completed"))
        row.provider, row.model = word(data.get("providerID")), word(data.get("modelID"))
        row.finish = word(data.get("finish"), default="")
        row.error = word(obj(data.get("error")).get("name"), default="")
        row.error = row.error or ("_unknown" if data.get("error") else "")
        row.summary = data.get("summary") is True
    return row


def v2_row(session: str, key: str, kind: str, at: int, order: int, data: dict[str, Any]) -> Row:
    """Return a row of ``session_message``."""
    row = Row("note", key, at, order, "v2")
    if kind == "assistant":
        times, model = obj(data.get("time")), obj(data.get("model"))
        row.kind, row.role = "step", kind
        row.agent = word(data.get("agent"))
        row.completed = number(times.get("completed"))
        row.streamed = number(times.get("streamed"))
        row.provider, row.model = word(model.get("providerID")), word(model.get("id"))
        row.finish = word(data.get("finish"), default="")
        row.error = word(obj(data.get("error")).get("type"), default="")
        row.error = row.error or ("_unknown" if data.get("error") else "")
        row.tokens, row.cost = tokens(data.get("tokens")), data.get("cost") or 0.0
        row.retries = number(obj(data.get("retry")).get("attempt")) or 0
        items = [one for one in objs(data.get("content")) if one.get("type") == "tool"]
        row.calls = [v2_call(session, key, item) for item in items]
    elif kind == "user":
        row.kind = "human"
        row.role = kind
        row.skills = tuple(word(one.get("name"), one.get("id")) for one in objs(data.get("skills")))
    elif kind == "skill":
        row.kind, row.skills = "human", (word(data.get("name"), data.get("skill")),)
    elif kind == "idle":
        row.kind, row.outcome = "idle", word(data.get("outcome"), default="abandoned")
    elif kind == "compaction":
        _add_compaction(row, data)
    return row


def _add_compaction(row: Row, data: dict[str, Any]) -> None:
    """
    Add what v2 says of a compaction, which is no step there.

    Choices: one that failed or still runs is none; what its summary took counts, also of
    one that failed (2.0.15 names no model then), like that of 1.x, whose summary is a
    step of the agent ``compaction``.
    """
    model = obj(data.get("model"))
    if data.get("status", "completed") == "completed":
        row.compaction = "manual" if data.get("reason") == "manual" else "auto"
    row.agent = "compaction"
    row.provider, row.model = word(model.get("providerID")), word(model.get("id"))
    row.tokens, row.cost = tokens(data.get("tokens")), data.get("cost") or 0.0
