"""
Classes: what a raw name, status or error text of OpenCode means.

Pure tables and functions; the texts are those that real binaries of 1.2 to
2.0 write.  A text is tested before the error's type: 2.0 gives a refused call
the type "aborted".  Error texts are read here and go no further.
"""

from __future__ import annotations

import re
from typing import Final

from opencode_exporter.events import (
    ABANDONED,
    ABORTED,
    DENIED,
    ERROR,
    LONGEST_NAME,
    UNKNOWN,
)

# Built-ins carry their 2.x name whichever generation wrote them.
_CANONICAL: Final = {"bash": "shell", "task": "subagent", "apply_patch": "patch"}

INVALID_TOOL: Final = "invalid"


def canonical(tool: str) -> str:
    """Return the one name of a tool that both generations share; of a long one its beginning."""
    return _CANONICAL.get(tool, tool)[:LONGEST_NAME]


_VERDICTS: Final = (
    (
        DENIED,
        re.compile(
            r"Permission(?:Denied|Rejected)Error|Permission denied: \w+"
            r"|The user has specified a rule which prevents you"
            r"|The user declined this tool call"
            r"|The user rejected permission"
        ),
    ),
    # 2.x names the tool where it finds, on resuming, a call whose process died.
    (ABANDONED, re.compile(r"^Tool execution interrupted: ")),
    (
        ABORTED,
        re.compile(
            r"Tool execution (?:aborted|interrupted)|^The operation was aborted|^Task cancelled"
        ),
    ),
)

_REASONS: Final = (
    (
        "not_found",
        re.compile(
            r'Skill ".*?" not found'
            r"|^Unable to load skill"
            r"|No tool named .* is currently available"
            r"|Unknown tool:"
            r"|unavailable tool"
            r"|File .*?not found",
            re.DOTALL,
        ),
    ),
    (
        "invalid_arguments",
        re.compile(
            r"SchemaError|was called with invalid arguments|[Ii]nvalid arguments for tool"
            r"|Invalid (?:tool )?input|JSON [Pp]arsing failed"
            r"|oldString and newString (?:must be different|are identical)"
        ),
    ),
    (
        "edit_mismatch",
        re.compile(
            r"Could not find oldString|oldString not found|Found multiple matches for oldString"
            r"|[Ff]ailed to find (?:expected lines|context)|apply_patch verification failed"
        ),
    ),
    (
        "missing_dependency",
        re.compile(r"ripgrep execution failed|[Ee]xecutable not found|spawn \S+ ENOENT"),
    ),
    ("timeout", re.compile(r"exceed(?:ed|ing) timeout|[Tt]imed? ?out", re.DOTALL)),
    (
        "network",
        re.compile(
            r"Transport error|[Uu]nable to connect|fetch failed|ECONNREFUSED|ECONNRESET|ENOTFOUND"
            r"|failed with status code|socket"
        ),
    ),
    (
        "file_access",
        re.compile(
            r"EACCES|EISDIR|ENOTDIR|ENOENT|EPERM|EROFS|ENOSPC|is a directory|permission denied",
            re.IGNORECASE,
        ),
    ),
)

_TYPES: Final = {
    "permission.rejected": DENIED,
    "aborted": ABORTED,
    "tool.interrupted": ABANDONED,
}


def verdict(text: str, kind: str = "") -> tuple[str, str]:
    """
    Return the status and the reason of a call that the source calls an error.

    Args:
        text: The error's message.
        kind: The error's type; only 2.x has one.
    """
    head = text[:2000]
    for status, pattern in _VERDICTS:
        if pattern.search(head):
            return status, ""
    if kind in _TYPES:
        return _TYPES[kind], ""
    if kind == "tool.input-json":
        return ERROR, "invalid_arguments"
    for reason, pattern in _REASONS:
        if pattern.search(head):
            return ERROR, reason
    return ERROR, "other"


_BY_USER: Final = re.compile(
    r"The user rejected permission|The user declined|PermissionRejectedError"
)


def is_refusal(text: str) -> bool:
    """
    Return whether the error of a denied call means that the user refused it, ending the turn.

    A rule's denial does not end it, nor does a refusal with feedback, which 1.x hands
    to the model.
    """
    head = text[:2000]
    return _BY_USER.search(head) is not None and "following feedback" not in head


_UNKNOWN_TOOL: Final = re.compile(
    r"No tool named .* is currently available|^Unknown tool:", re.DOTALL
)


def names_no_tool(text: str) -> bool:
    """Return whether an error of 2.x means that the tool does not exist."""
    return _UNKNOWN_TOOL.search(text[:2000]) is not None


def refused_call(tool: str, error: str, failure: str = "") -> tuple[str, str]:
    """
    Return under which name a call of 1.x's ``invalid`` counts, and why it failed.

    OpenCode hands to that tool what names no tool, and also calls of real tools
    whose arguments are no JSON; the error's text tells which.

    Args:
        tool: The tool that the model asked for.
        error: What 1.x says about it.
        failure: The error of ``invalid`` itself, where that failed as well.
    """
    reasons = [verdict(text)[1] for text in (error, failure) if text]
    telling = next((reason for reason in reasons if reason != "other"), "other")
    is_real = error.startswith("Invalid input for tool ")
    return canonical(tool) if is_real else UNKNOWN, telling or "not_found"


_REFUSAL_OUTPUT: Final = "The arguments provided to the tool are invalid"


def is_refusal_output(text: str) -> bool:
    """Return whether an output is what 1.x's own ``invalid`` answers, or none at all."""
    return not text or text.startswith(_REFUSAL_OUTPUT)


_USER_ABORTED: Final = re.compile(
    r"<(?:shell|bash)_metadata>(?:(?!</(?:shell|bash)_metadata>).)*User aborted the command"
    r"(?:(?!</(?:shell|bash)_metadata>).)*</(?:shell|bash)_metadata>\s*\Z",
    re.DOTALL,
)
_REMARKS: Final = 1000  # characters that OpenCode's closing remarks do not exceed


def is_aborted_command(code: object, output: str) -> bool:
    """
    Return whether the user interrupted a command that 1.x calls completed.

    Args:
        code: ``metadata.exit``; a command that has one ended by itself, whatever it said.
        output: The output, or its end.
    """
    is_number = isinstance(code, int) and not isinstance(code, bool)
    return not is_number and _USER_ABORTED.search(output[-_REMARKS:]) is not None


_TIMEOUT: Final = re.compile(r"exceed(?:ed|ing) timeout")
_ENDS: Final = 4096  # where OpenCode puts its remarks: the first or the last characters


def shell_exit(code: object, output: str, *, ended: bool) -> str:
    """
    Return the class of a shell call's end.

    Args:
        code: ``metadata.exit``; None where the process was timed out or killed.
        output: The call's output text, which says which of the two.
        ended: Whether the source recorded an end of the process at all.
    """
    if isinstance(code, int) and not isinstance(code, bool):
        return "zero" if code == 0 else "nonzero"
    if not ended:
        return "unknown"
    near = output if len(output) <= 2 * _ENDS else output[:_ENDS] + output[-_ENDS:]
    return "timeout" if _TIMEOUT.search(near) else "killed"
