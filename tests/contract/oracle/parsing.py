"""
The JSON of both generations, row by row, as `oracle.model` has it.

Pure and lenient: what has an odd type is not there.  The verdicts on error texts and
the canonical names come from the exporter's tables; nothing else does.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from contract.oracle.model import LATER_MS, Call, Row, moment
from opencode_exporter.decode.opencode import verdicts

_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_BY_USER = ("The user rejected permission", "The user declined", "PermissionRejectedError")
_BROKEN = "The arguments provided to the tool are invalid"


def obj(value: object) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objs(value: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def word(*values: object, default: str = "_unknown") -> str:
    """Return the first text that is not empty."""
    return next((one for one in values if isinstance(one, str) and one), default)


def number(value: object) -> int | None:
    """Return a whole number, None for anything else."""
    return value if type(value) is int else None


def load(data: Any) -> dict[str, Any]:
    """Return a row's data, an empty object where they are none."""
    try:
        return obj(json.loads(data))
    except (TypeError, ValueError):
        return {}


def tokens(value: object) -> dict[str, int]:
    """Return the five kinds of tokens: "they do not overlap"; "negative numbers" are 0."""
    given = obj(value)
    cache = obj(given.get("cache"))
    named = {name: _count(given.get(name)) for name in ("input", "output", "reasoning")}
    both = {f"cache_{name}": _count(cache.get(name)) for name in ("read", "write")}
    return named | both


def _count(value: object) -> int:
    return max(number(value) or 0, 0)


def dollars(value: object) -> float:
    """Return a cost; what is no number, or less than 0, costs nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return max(float(value), 0.0) if math.isfinite(value) else 0.0


def is_typed(part: dict[str, Any], *, stepped: bool = False) -> bool:
    """
    Say whether a v1 part is a command that the user typed: "is not an invocation".

    "(`!cmd`: `completed`, ULID call id, and no `step-start` in its message) …; a ULID as
    call id alone says nothing."  Its metadata are the output alone, so what has an exit
    code or says whether it was cut ran as a tool.

    Args:
        part: The part.
        stepped: Whether its message has a ``step-start``.
    """
    state = obj(part.get("state"))
    ran = not {"exit", "truncated"}.isdisjoint(obj(state.get("metadata")))
    ended = state.get("status") == "completed" and not ran
    by_hand = _ULID.fullmatch(word(part.get("callID"), default="")) is not None
    return part.get("tool") == "bash" and ended and by_hand and not stepped


def _stopped(tool: str, meta: dict[str, Any], said: str) -> bool:
    """
    Say whether the user interrupted a command that is `completed`.

    "1.x stores an interrupted command as `completed` with `User aborted the command` in
    its output."  Choices: only where OpenCode's own remarks close the output, and the
    command has no exit code, for a command may print anything; so it is in imported rows.
    """
    if tool != "shell" or type(meta.get("exit")) in (int, float):
        return False
    text = said.rstrip()
    kinds = (kind for kind in ("shell", "bash") if text.endswith(f"</{kind}_metadata>"))
    closing = (text[text.rfind(f"<{kind}_metadata>") :] for kind in kinds)
    return any("User aborted the command" in remarks for remarks in closing)


def _of_invalid(given: dict[str, Any], *told: str) -> tuple[str, str]:
    """
    Return the name and the reason of a call that 1.x hands to ``invalid``.

    "`_unknown` means: … the model named something that does not exist"; a real tool whose
    arguments are no JSON keeps its name.  "The reason of an `invalid` call also where it
    stands in `state.error`": choice: the first text that tells one, `other` if none does.
    """
    texts = [word(given.get("error"), default=""), *told]
    named = [verdicts.refused_call(word(given.get("tool")), text) for text in texts if text]
    tool = next((name for name, _ in named if name != "_unknown"), "_unknown")
    telling = next((reason for _, reason in named if reason != "other"), "other")
    return tool, telling


def _refused(status: str, text: str) -> bool:
    """
    Say whether the user refused a call, which ends the turn.

    Choice: a rule's denial does not (recordings go on after it), and neither does a
    refusal with feedback, which 1.x hands to the model.
    """
    by_user = any(words in text for words in _BY_USER)
    return status == "denied" and by_user and "following feedback" not in text


def v1_call(
    session: str,
    message: str,
    part: dict[str, Any],
    *,
    stepped: bool = False,
    now: int = LATER_MS,
) -> Call | None:
    """
    Return the invocation of a tool part; None where the user typed the command.

    "A tool that the *provider* ran (1.x: `invalid` with `metadata.providerExecuted`) counts
    under the provider's name for it, with its own status."  "A call of its own": "a part
    `tool` without `metadata.providerExecuted`, and not `error` with
    `state.metadata.interrupted`".

    Args:
        session: The session's id.
        message: The message's id.
        part: The part.
        stepped: Whether its message has a ``step-start``.
        now: When it is read, Unix ms.
    """
    if is_typed(part, stepped=stepped):
        return None
    state = obj(part.get("state"))
    given, meta, times = (obj(state.get(key)) for key in ("input", "metadata", "time"))
    tool, raw, text = verdicts.canonical(word(part.get("tool"))), state.get("status"), ""
    status, vouched, reason = "abandoned", raw == "running", ""
    elsewhere = obj(part.get("metadata")).get("providerExecuted") is True
    if raw == "completed":
        status, vouched = "completed", True
        text = word(state.get("output"), default="")
        if _stopped(tool, meta, text):
            status = "aborted"
    elif raw == "error":
        text = word(state.get("error"), default="")
        status, reason = verdicts.verdict(text)
        vouched = status != "aborted"
    if tool == "invalid" and elsewhere:
        tool = verdicts.canonical(word(given.get("tool")))
    elif tool == "invalid":
        tool, why = _of_invalid(given, text if raw == "error" else "")
        status = "error" if raw == "completed" else status
        reason = why if status == "error" else ""
        vouched = False  # the model can ask for that tool itself, and name anything
    vouched = vouched or elsewhere
    skill = word(meta.get("name"), given.get("name")) if tool == "skill" else ""
    return Call(
        session,
        message,
        word(part.get("callID"), default=""),
        tool,
        status,
        vouched,
        moment(times.get("start"), now),
        moment(times.get("end"), now) if status != "abandoned" else None,
        given,
        meta,
        text,
        skill,
        _refused(status, text),
        word(meta.get("sessionId"), default="") if tool == "subagent" else "",
        reason=reason,
        own=not elsewhere and not (raw == "error" and meta.get("interrupted") is True),
    )


def v2_call(session: str, message: str, item: dict[str, Any], *, now: int = LATER_MS) -> Call:
    """
    Return the invocation of a content item, with those inside ``execute``.

    "(2.x: `executed`)" marks a tool that the provider ran.  "2.0.15's import of 1.x drops
    the mark (`invalid`, no `executed`)" and leaves `providerState.providerExecuted`; choice:
    without it, too, an imported ``invalid`` is the provider's
    when it has completed and says anything else than 1.x does of a call that it refuses.
    """
    state, times = obj(item.get("state")), obj(item.get("time"))
    given, meta = obj(state.get("input")), obj(state.get("metadata"))
    error = obj(state.get("error"))
    told, kind = (word(error.get(key), default="") for key in ("message", "type"))
    tool, raw = verdicts.canonical(word(item.get("name"))), state.get("status")
    said = "".join(word(one.get("text"), default="") for one in objs(state.get("content")))
    status, vouched, reason = "abandoned", False, ""
    nested: tuple[tuple[str, str], ...] = ()
    mark = obj(item.get("providerState")).get("providerExecuted")
    elsewhere = item.get("executed") is True or mark is True
    if raw == "completed":
        status, vouched = "completed", True
        if _stopped(tool, meta, said):
            status = "aborted"
    elif raw == "error":
        status, reason = verdicts.verdict(told, kind)
        vouched = status not in {"aborted", "abandoned"} and kind != "tool.input-json"
        tool = "_unknown" if verdicts.names_no_tool(told) else tool
    if tool == "invalid":  # imported
        shown = raw == "completed" and said != "" and not said.startswith(_BROKEN)
        elsewhere = elsewhere or (shown and isinstance(given.get("tool"), str))
        if elsewhere:
            tool = verdicts.canonical(word(given.get("tool")))
        else:
            tool, why = _of_invalid(given, told)
            status = "error" if raw == "completed" else status
            reason = why if status == "error" else ""
            vouched = False  # the model can ask for that tool itself, and name anything
    vouched = vouched or elsewhere
    if raw in {"completed", "error"}:
        nested = tuple(
            (verdicts.canonical(word(one.get("tool"))), _nested_status(one))
            for one in objs(meta.get("toolCalls"))
        )
    return Call(
        session,
        message,
        word(item.get("id"), default=""),
        tool,
        status,
        vouched,
        moment(times.get("created"), now),
        moment(times.get("completed"), now) if status != "abandoned" else None,
        given,
        meta,
        told or said,
        word(meta.get("name"), given.get("id"), given.get("name")) if tool == "skill" else "",
        _refused(status, told),
        word(meta.get("sessionID"), meta.get("sessionId"), default="")
        if tool == "subagent"
        else "",
        nested,
        moment(times.get("ran"), now),
        reason,
        own=not elsewhere and not (raw == "error" and meta.get("interrupted") is True),
    )


def _nested_status(one: dict[str, Any]) -> str:
    return "completed" if one.get("status") == "completed" else "error"


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
