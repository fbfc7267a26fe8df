"""
How a call of 1.x ended: under which name it counts, with which status and reason.

Pure.  A call is shown twice, as an invocation and as part of its step: both ask here,
so that they agree.  2.x asks for what it has imported.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from opencode_exporter.catalog import vocabulary
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.values import mapping, text_or
from opencode_exporter.events import ABORTED, COMPLETED, ERROR, UNKNOWN

_ULID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


class Ending(NamedTuple):
    """What a call that has ended counts as."""

    tool: str
    status: str
    reason: str = ""  # of an error
    vouched: bool = True  # the source shows that this tool exists


class Asked(NamedTuple):
    """What 1.x hands to its tool ``invalid``: the tool asked for, and what was wrong."""

    tool: str
    error: str


NONE_ASKED: Final = Asked(UNKNOWN, "")
"""Of all tools but ``invalid`` nothing is asked."""


def asked_of(tool: object, error: object) -> Asked:
    """Return what ``invalid`` was asked; a model can call that tool, and say anything."""
    return Asked(text_or(tool, UNKNOWN), text_or(error, ""))


def ran_by_provider(metadata: object) -> bool:
    """
    Return whether the provider ran a call itself: OpenCode only noted what came of it.

    Args:
        metadata: The part's, not that of its state; ``providerState`` where 2.x imported it.
    """
    return mapping(metadata).get("providerExecuted") is True


def is_typed(call_id: str, status: str, *, ran_tool: bool) -> bool:
    """
    Return whether a shell part is a command that the user typed (``!cmd``): no invocation.

    It is asked of messages without a ``step-start``, with which OpenCode begins what a
    model does.  Providers, too, give out ids that are ULIDs; but the tool records more
    than the output.

    Args:
        call_id: The part's call id.
        status: The word of its state.
        ran_tool: What `ran_tool` says of its metadata.
    """
    return status == "completed" and not ran_tool and looks_typed(call_id)


def ran_tool(code: object, truncated: object) -> bool:
    """Return whether the tool ``bash`` ran a command: of one that is typed neither is recorded."""
    return code is not None or truncated is not None


def looks_typed(call_id: str) -> bool:
    """Return whether a call id is a ULID, as those of commands are that the user typed."""
    return _ULID.fullmatch(call_id) is not None


def ending_of(  # a list of cases
    tool: str, status: str, error: str, asked: Asked, *, provider: bool, output: str, code: Any
) -> Ending:
    """
    Return how a call ended.

    Args:
        tool: The canonical name.
        status: ``completed`` or ``error``.
        error: The text of the error.
        asked: What ``invalid`` was asked; of other tools nothing is read.
        provider: Whether the provider ran it.
        output: Of a command, the end of its output.
        code: Of a command, its exit code.
    """
    if tool == verdicts.INVALID_TOOL:
        if not provider:
            name, reason = verdicts.refused_call(asked.tool, asked.error, error)
            return Ending(name, ERROR, reason, vouched=False)
        # 1.x has no tool of that name, and says so of a call that went well.
        tool = verdicts.canonical(asked.tool)
    if status == "completed":
        if tool == vocabulary.SHELL_TOOL and verdicts.is_aborted_command(code, output):
            return Ending(tool, ABORTED)
        return Ending(tool, COMPLETED)
    word, reason = verdicts.verdict(error)
    # One that was aborted may have ended before its name was checked.
    return Ending(tool, word, reason, vouched=provider or word != ABORTED)
