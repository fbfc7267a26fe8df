"""
Front matter: the name of a skill, as OpenCode itself reads it.

OpenCode takes the block between the dashes with gray-matter, reads it with
js-yaml, and mends values with a colon in them when that fails.  A test asks the
real program about every spelling that we know of.
The files are anybody's: whatever stands in one gives a name or none, soon.
Nothing here opens a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

import yaml

from opencode_exporter.source.skills.yaml_dialect import JsYamlLoader, is_merge, merged, text_of

_OPENING: Final = re.compile(r"---(?!-)([^\n]*?)\r?\n")
_LANGUAGES: Final = re.compile(r"(?i:ya?ml)?|json")  # OpenCode would run JavaScript; we do not
_MENDABLE: Final = re.compile(r"---\r?\n(.*?)\r?\n---", re.DOTALL)
_KEY_AND_VALUE: Final = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*+)\s*+:\s*+([^\r\u2028\u2029]*+)")


def skill_name(head: bytes, *, is_whole: bool) -> str | None:
    """
    Return the name that OpenCode gives to a skill, or None where it sees no skill.

    Args:
        head: What the file begins with.
        is_whole: Whether it is all of the file.  Otherwise the front matter has to
            end within it.
    """
    text = head.decode("utf-8", errors="replace")
    block = _block(text.removeprefix("\ufeff"), is_whole=is_whole)
    if block is None:
        return None
    is_json, matter = block
    if is_json:
        return _named(_json_texts(matter))
    keys = _top_level(matter)
    if keys is None:
        mended = _mended(text)  # with a byte order mark, OpenCode mends nothing
        keys = _top_level(mended) if mended is not None else None
    return _named({key: text_of(node) for key, node in (keys or {}).items()})


def _block(text: str, *, is_whole: bool) -> tuple[bool, str] | None:
    """Return the front matter, and whether it is JSON."""
    opening = _OPENING.match(text)
    if not opening or not _LANGUAGES.fullmatch(language := opening[1].strip()):
        return None
    # The line break before the closing dashes may be the one after the opening ones.
    end = text.find("\n---", opening.end() - 1)
    if end < 0 and not is_whole:
        return None
    return language == "json", text[opening.end() : end if end >= 0 else len(text)]


def _named(texts: Mapping[str, str | None]) -> str | None:
    """Return the name, unless there is a description that is no text."""
    described = "description" not in texts or texts["description"] is not None
    return texts.get("name") if described else None


def _json_texts(matter: str) -> dict[str, str | None]:
    try:
        top = json.loads(matter, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}
    pairs = top.items() if isinstance(top, dict) else ()
    return {key: value if isinstance(value, str) else None for key, value in pairs}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _mended(text: str) -> str | None:
    """Return the front matter with what follows ``key:`` taken as text if it has a colon."""
    found = _MENDABLE.match(text)
    if not found:
        return None
    return "\n".join(line for old in re.split(r"\r?\n", found[1]) for line in _mended_line(old))


def _mended_line(line: str) -> Iterator[str]:
    found = _KEY_AND_VALUE.fullmatch(line)
    value = found[2].strip() if found else ""
    if not found or ":" not in value or value.startswith(('"', "'")):
        yield line
    else:
        yield f"{found[1]}: |-"
        yield f"  {value}"


def _top_level(matter: str) -> dict[str, yaml.Node] | None:
    """
    Return the nodes of a mapping by key; None if the text is no YAML to OpenCode.

    Nodes and not values, because building the values of a few lines of nested
    merge keys can take all memory.
    """
    try:
        top = yaml.compose(matter, Loader=JsYamlLoader)
    # chr() has errors of its own for "\UFFFFFFFF".
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        return None
    return dict(_pairs(top, {id(top)})) if isinstance(top, yaml.MappingNode) else {}


def _pairs(mapping: yaml.MappingNode, seen: set[int]) -> Iterator[tuple[str, yaml.Node]]:
    """Yield keys and values; merged ones come before the ones that override them."""
    sources = [one for key, value in mapping.value if is_merge(key) for one in merged(value)]
    for source in reversed(sources):
        if isinstance(source, yaml.MappingNode) and id(source) not in seen:
            seen.add(id(source))
            yield from _pairs(source, seen)
    yield from ((str(key.value), value) for key, value in mapping.value if not is_merge(key))
