"""
What the error of a call means, by the phrases that OpenCode and its tools write.

Written from what real binaries stored, for the oracle alone.  In a phrase, ``…`` stands
for anything, and ``^`` for the beginning of the text.
"""

from __future__ import annotations

_HEAD = 2000
"""Choice: so many characters of an error are read; no phrase of OpenCode comes later."""

_DENIED = (
    "The user has specified a rule which prevents you",
    "The user declined this tool call",
    "The user rejected permission",
    "PermissionDeniedError",
    "PermissionRejectedError",
)
_RULE = "Permission denied: "
"""Before the name of a permission; what a file system says goes on with a path, if at all."""
_ABANDONED = ("^Tool execution interrupted: ",)
_ABORTED = (
    "Tool execution aborted",
    "Tool execution interrupted",
    "^The operation was aborted",
    "^Task cancelled",
)
_NO_TOOL = ("No tool named … is currently available", "^Unknown tool:")

_REASONS = {
    "not_found": (
        'Skill "…" not found',
        "^Unable to load skill",
        "No tool named … is currently available",
        "Unknown tool:",
        "unavailable tool",
        "File …not found",
    ),
    "invalid_arguments": (
        "SchemaError",
        "was called with invalid arguments",
        "invalid arguments for tool",
        "Invalid arguments for tool",
        "Invalid input",
        "Invalid tool input",
        "JSON parsing failed",
        "JSON Parsing failed",
        "oldString and newString must be different",
        "oldString and newString are identical",
    ),
    "edit_mismatch": (
        "Could not find oldString",
        "oldString not found",
        "Found multiple matches for oldString",
        "ailed to find expected lines",
        "ailed to find context",
        "apply_patch verification failed",
    ),
    "missing_dependency": (
        "ripgrep execution failed",
        "xecutable not found",
    ),
    "timeout": (
        "exceeding timeout",
        "exceeded timeout",
        "timeout",
        "timed out",
        "time out",
        "Timeout",
        "Timed out",
        "Time out",
    ),
    "network": (
        "Transport error",
        "nable to connect",
        "fetch failed",
        "ECONNREFUSED",
        "ECONNRESET",
        "ENOTFOUND",
        "failed with status code",
        "socket",
    ),
}
"""Phrases of each reason, in the order in which they are tried."""
_OF_FILES = (
    "eacces",
    "eisdir",
    "enotdir",
    "enoent",
    "eperm",
    "erofs",
    "enospc",
    "is a directory",
    "permission denied",
)
_TYPES = {
    "permission.rejected": ("denied", ""),
    "aborted": ("aborted", ""),
    "tool.interrupted": ("abandoned", ""),
    "tool.input-json": ("error", "invalid_arguments"),
}
"""What the type of an error means where its text says nothing; only 2.x has one."""


def verdict(text: str, kind: str = "") -> tuple[str, str]:
    """
    Return the status and the reason of a call that ended in an error.

    "`error`: the call failed; `denied`: a rule or the user refused it; `aborted`: the user
    interrupted it; `abandoned`: it never ended."  Choice: the text is tested before the
    type, for 2.0 gives what the user declined the type `aborted`.
    """
    said = text[:_HEAD]
    if _says(said, _DENIED) or _is_ruled_out(said):
        return "denied", ""
    if _says(said, _ABANDONED):
        return "abandoned", ""
    if _says(said, _ABORTED):
        return "aborted", ""
    return _TYPES.get(kind) or ("error", _reason(said))


def _reason(said: str) -> str:
    """Return the class of a failure; a program that cannot be spawned is no missing file."""
    for reason, phrases in _REASONS.items():
        if _says(said, phrases) or (reason == "missing_dependency" and _is_unspawned(said)):
            return reason
    return "file_access" if any(words in said.lower() for words in _OF_FILES) else "other"


def _is_ruled_out(said: str) -> bool:
    """Return whether a rule denied a permission, which is named by a word."""
    rest = said.split(_RULE)[1:]
    return any(after[:1].isalnum() or after[:1] == "_" for after in rest)


def _is_unspawned(said: str) -> bool:
    """Return whether a program could not be started, for it is not there."""
    words = said.split()
    return any(
        first.endswith("spawn") and last.startswith("ENOENT")
        for first, last in zip(words, words[2:], strict=False)
    )


def refused_call(tool: str, text: str) -> tuple[str, str]:
    """
    Return name and reason of what 1.x hands to ``invalid``, by one of its texts.

    "`_unknown` means: … the model named something that does not exist"; a real tool whose
    arguments are no JSON keeps its name.  Choice: what is denied as a whole is not there.
    """
    is_real = text.startswith("Invalid input for tool ")
    return tool if is_real else "_unknown", verdict(text)[1] or "not_found"


def names_no_tool(text: str) -> bool:
    """Return whether "the source says it does not exist": "v2's unknown-tool error"."""
    return _says(text[:_HEAD], _NO_TOOL)


def _says(said: str, phrases: tuple[str, ...]) -> bool:
    """Return whether a text has one of the phrases."""
    return any(_has(said, phrase) for phrase in phrases)


def _has(said: str, phrase: str) -> bool:
    """Return whether a text has the pieces of a phrase, one after the other."""
    pieces = phrase.removeprefix("^").split("…")
    if phrase.startswith("^") and not said.startswith(pieces[0]):
        return False
    at = 0
    for piece in pieces:
        found = said.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True
