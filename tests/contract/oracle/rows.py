"""Rows of messages in both generations, as `oracle.model` has them."""

from __future__ import annotations

from typing import Any

from contract.oracle.calls import v2_call
from contract.oracle.model import LATER_MS, Row, moment
from contract.oracle.values import dollars, obj, objs, tokens, word


def v1_row(key: str, created: int, order: int, data: dict[str, Any], *, now: int = LATER_MS) -> Row:
    """Return a message of v1 without what its parts say; it may still become a note."""
    times, role = obj(data.get("time")), word(data.get("role"), default="")
    row = Row("step" if role == "assistant" else "human", key, created, order, "v1", role=role)
    row.agent = word(data.get("agent"), data.get("mode"))
    if role == "assistant":
        row.parent = word(data.get("parentID"), default="")
        row.completed = moment(times.get("completed"), now)
        row.provider, row.model = word(data.get("providerID")), word(data.get("modelID"))
        row.finish = word(data.get("finish"), default="")
        row.error = word(obj(data.get("error")).get("name"), default="")
        row.error = row.error or ("_unknown" if data.get("error") else "")
        row.summary = data.get("summary") is True
    return row


def v2_row(
    session: str,
    key: str,
    kind: str,
    at: int,
    order: int,
    data: dict[str, Any],
    *,
    now: int = LATER_MS,
) -> Row:
    """
    Return a row of ``session_message``.

    "One for each step that has `retry` (2.x; its `attempt` is a number, not a count)":
    choice: an object of that name, whatever is in it.
    """
    row = Row("note", key, at, order, "v2")
    if kind == "assistant":
        times, model = obj(data.get("time")), obj(data.get("model"))
        row.kind, row.role = "step", kind
        row.agent = word(data.get("agent"))
        row.completed = moment(times.get("completed"), now)
        row.streamed = moment(times.get("streamed"), now)
        row.provider, row.model = word(model.get("providerID")), word(model.get("id"))
        row.finish = word(data.get("finish"), default="")
        row.error = word(obj(data.get("error")).get("type"), default="")
        row.error = row.error or ("_unknown" if data.get("error") else "")
        row.tokens, row.cost = tokens(data.get("tokens")), dollars(data.get("cost"))
        row.retries = int(isinstance(data.get("retry"), dict))
        items = [one for one in objs(data.get("content")) if one.get("type") == "tool"]
        row.calls = [v2_call(session, key, item, now=now) for item in items]
    elif kind == "user":
        row.kind = "human"
        row.role = kind
        row.skills = tuple(word(one.get("name"), one.get("id")) for one in objs(data.get("skills")))
    elif kind == "skill":
        row.kind, row.skills = "human", (word(data.get("name"), data.get("skill")),)
    elif kind == "idle":
        row.kind, row.outcome = "idle", word(data.get("outcome"), default="")
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
    row.tokens, row.cost = tokens(data.get("tokens")), dollars(data.get("cost"))
