"""
OpenCode's configuration files, as far as skills and MCP servers go.

JSON with comments; a file that cannot be read says nothing, and one that lists more than
anybody would says the first of it.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from opencode_exporter.events import LONGEST_PATH


class OpenCodeConfig(NamedTuple):
    """What one opencode.json says that matters here."""

    skill_paths: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    """MCP servers, as they stand in the names of their tools."""


class _Config(msgspec.Struct):
    skills: Any = None
    mcp: Any = None


_COMMENT: Final = re.compile(r'("(?:[^"\\]|\\.?)*+"?)|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_LAST_COMMA: Final = re.compile(r'("(?:[^"\\]|\\.?)*+"?)|,(?=\s*+[}\]])', re.DOTALL)


_NOT_IN_TOOL_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_MOST: Final = 1000  # folders of a file, and servers
_LONGEST_NAME: Final = 128  # of a server: the names of its tools are cut there


def parse_config(head: bytes) -> OpenCodeConfig:
    """Read a file's text; anything but a configuration gives an empty one."""
    text = head.decode("utf-8-sig", errors="replace")
    # JSON with comments and trailing commas: two substitutions spare a dependency.
    for pattern in (_COMMENT, _LAST_COMMA):
        text = pattern.sub(lambda found: found[1] or " ", text)
    try:
        found = msgspec.json.decode(text, type=_Config)
    except (msgspec.MsgspecError, RecursionError):
        return OpenCodeConfig()
    # 1.x lists folders under skills.paths, 2.x under skills.
    paths = found.skills.get("paths") if isinstance(found.skills, dict) else found.skills
    servers = found.mcp if isinstance(found.mcp, dict) else {}
    servers = servers.get("servers", servers)  # 2.x has one level more
    return OpenCodeConfig(
        tuple(
            path
            for path in (paths[:_MOST] if isinstance(paths, list) else ())
            if isinstance(path, str) and 0 < len(path) <= LONGEST_PATH and "://" not in path
        ),
        tuple(
            _NOT_IN_TOOL_NAMES.sub("_", name)
            for name in islice(servers if isinstance(servers, dict) else (), _MOST)
            if len(name) <= _LONGEST_NAME
        ),
    )
