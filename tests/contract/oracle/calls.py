"""Invocations as the JSON of both generations tells them: what each is counted as."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from contract.oracle.model import LATER_MS, Call, moment
from contract.oracle.tools import canonical
from contract.oracle.values import obj, objs, word
from contract.oracle.verdicts import names_no_tool, refused_call, verdict

_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_BY_USER = ("The user rejected permission", "The user declined", "PermissionRejectedError")
_TEXTS = {"completed": "output", "error": "error"}
"""Where 1.x says how a call of each status ended."""
_BROKEN = "The arguments provided to the tool are invalid"


def is_typed(part: dict[str, Any], *, stepped: bool = False) -> bool:
    """
    Return whether a v1 part is a command that the user typed: "is not an invocation".

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
    Return whether the user interrupted a command that is `completed`.

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


class _Counted(NamedTuple):
    """As what a call counts, and whether it shows that its tool exists."""

    tool: str
    status: str
    reason: str = ""
    vouched: bool = False


def _of_invalid(
    found: _Counted, raw: object, given: dict[str, Any], *told: str, elsewhere: bool
) -> _Counted:
    """
    Return as what a call counts that 1.x hands to ``invalid``.

    "`_unknown` means: … the model named something that does not exist"; a real tool whose
    arguments are no JSON keeps its name.  "The reason of an `invalid` call also where it
    stands in `state.error`": choice: the first text that tells one, `other` if none does.
    """
    asked = canonical(word(given.get("tool")))
    if elsewhere:
        return found._replace(tool=asked)
    texts = [word(given.get("error"), default=""), *told]
    named = [refused_call(asked, text) for text in texts if text]
    tool = next((name for name, _ in named if name != "_unknown"), "_unknown")
    telling = next((reason for _, reason in named if reason != "other"), "other")
    status = "error" if raw == "completed" else found.status
    # It vouches for nothing: the model can ask for that tool itself, and name anything.
    return _Counted(tool, status, telling if status == "error" else "")


def _refused(status: str, text: str) -> bool:
    """
    Return whether the user refused a call, which ends the turn.

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
    raw = state.get("status")
    text = word(state.get(_TEXTS.get(str(raw), "")), default="")
    elsewhere = obj(part.get("metadata")).get("providerExecuted") is True
    found = _v1_end(canonical(word(part.get("tool"))), raw, meta, text)
    if found.tool == "invalid":
        said = text if raw == "error" else ""
        found = _of_invalid(found, raw, given, said, elsewhere=elsewhere)
    return Call(
        session,
        message,
        word(part.get("callID"), default=""),
        found.tool,
        found.status,
        found.vouched or elsewhere,
        moment(times.get("start"), now),
        moment(times.get("end"), now) if found.status != "abandoned" else None,
        given,
        meta,
        text,
        word(meta.get("name"), given.get("name")) if found.tool == "skill" else "",
        _refused(found.status, text),
        word(meta.get("sessionId"), default="") if found.tool == "subagent" else "",
        reason=found.reason,
        own=not elsewhere and not (raw == "error" and meta.get("interrupted") is True),
    )


def _v1_end(tool: str, raw: object, meta: dict[str, Any], text: str) -> _Counted:
    """Return how a part of 1.x ended."""
    if raw == "completed":
        return _Counted(tool, _completed(tool, meta, text), vouched=True)
    if raw == "error":
        status, reason = verdict(text)
        return _Counted(tool, status, reason, vouched=status != "aborted")
    return _Counted(tool, "abandoned", vouched=raw == "running")


def _completed(tool: str, meta: dict[str, Any], said: str) -> str:
    return "aborted" if _stopped(tool, meta, said) else "completed"


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
    raw = state.get("status")
    said = "".join(word(one.get("text"), default="") for one in objs(state.get("content")))
    mark = obj(item.get("providerState")).get("providerExecuted")
    elsewhere = item.get("executed") is True or mark is True
    found = _v2_end(canonical(word(item.get("name"))), raw, meta, said, told, kind)
    if found.tool == "invalid":  # imported
        shown = raw == "completed" and said != "" and not said.startswith(_BROKEN)
        elsewhere = elsewhere or (shown and isinstance(given.get("tool"), str))
        found = _of_invalid(found, raw, given, told, elsewhere=elsewhere)
    is_skill, is_agent = found.tool == "skill", found.tool == "subagent"
    return Call(
        session,
        message,
        word(item.get("id"), default=""),
        found.tool,
        found.status,
        found.vouched or elsewhere,
        moment(times.get("created"), now),
        moment(times.get("completed"), now) if found.status != "abandoned" else None,
        given,
        meta,
        told or said,
        word(meta.get("name"), given.get("id"), given.get("name")) if is_skill else "",
        _refused(found.status, told),
        word(meta.get("sessionID"), meta.get("sessionId"), default="") if is_agent else "",
        _nested(meta) if raw in {"completed", "error"} else (),
        moment(times.get("ran"), now),
        found.reason,
        own=not elsewhere and not (raw == "error" and meta.get("interrupted") is True),
    )


def _v2_end(
    tool: str, raw: object, meta: dict[str, Any], said: str, told: str, kind: str
) -> _Counted:
    """Return how an item of 2.x ended; the name of a tool that is not there is none."""
    if raw == "completed":
        return _Counted(tool, _completed(tool, meta, said), vouched=True)
    if raw == "error":
        status, reason = verdict(told, kind)
        vouched = status not in {"aborted", "abandoned"} and kind != "tool.input-json"
        return _Counted("_unknown" if names_no_tool(told) else tool, status, reason, vouched)
    return _Counted(tool, "abandoned")


def _nested(meta: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return tool and status of the calls inside ``execute``."""
    return tuple(
        (
            canonical(word(one.get("tool"))),
            "completed" if one.get("status") == "completed" else "error",
        )
        for one in objs(meta.get("toolCalls"))
    )
