"""
A YAML settings file, read strictly into structs: an unknown or misspelt setting is an error.

Every scalar stays the text that was written, so `on`, `123` or `null` can be a user name.
Every error names the file and the key, and quotes no value, which may be a secret.
Nothing here knows which settings exist.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, Self, TypeVar, get_args

import msgspec
import yaml

from opencode_exporter.errors import ConfigError

# The spellings of YAML 1.1, which the exporter-toolkit's parser accepts.
_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "n"})

_DURATION_PART: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}

# The errors of msgspec, and our words for the types in them.
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`( - at `\$\.(.*)`)?", re.DOTALL)
_WRONG: Final = re.compile(r"(?:Expected `(\w+).*?`, got .*?|(.*?)) - at `\$\.(.*)`", re.DOTALL)
_WORDS: Final = {
    "str": "must be a text",
    "array": "must be a list of texts",
    "object": "must be a mapping of settings",
}


class Switch(int):
    """A truth value."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the value of a text."""
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError("must be true or false")
        return cls(text.lower() in _TRUE)


class Count(int):
    """A whole number of at most 9 digits, not negative."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the value of a text."""
        if re.fullmatch(r"[0-9]{1,9}", text) is None:
            raise ValueError("must be a whole number, not negative")
        return cls(text)


class Seconds(float):
    """A duration, written as `1s` or `1m30s`; `0` needs no unit."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the value of a text."""
        parts = _DURATION_PART.findall(text)
        if text != "0" and (not parts or "".join(n + unit for n, unit in parts) != text):
            raise ValueError("must be a duration, for example 1s, 500ms or 1m30s")
        return cls(sum(float(number) * _SECONDS[unit] for number, unit in parts))


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping of settings; a setting without a value keeps its default."""


AnySection = TypeVar("AnySection", bound=Section)


class Place(NamedTuple):
    """Where a section stands, for its errors; the outermost one has no name."""

    file: Path
    section: str = ""

    def fail(self, key: str, fact: str, *, hint: str = "") -> NoReturn:
        """Raise the error of one key of the section."""
        where = ".".join(part for part in (self.section, key) if part)
        raise ConfigError(f"{self.file}: {where}: {fact}", hint=hint)


class _TextLoader(yaml.BaseLoader):
    """Loads scalars as text and refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be plain text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_settings(path: Path, kind: type[AnySection]) -> AnySection:
    """
    Read a file as its outermost section.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or has a setting that is unknown
            or of another type.
    """
    values = _load(path)
    try:
        return msgspec.convert(_with_values(values, kind), kind, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        _refuse(path, kind, str(error))


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.load(path.read_bytes(), Loader=_TextLoader)  # noqa: S506 - builds text only
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", hint="check --web.config.file"
        ) from error
    # chr() has errors of its own for "\UFFFFFFFF".
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        # The library's own text quotes the line, which may hold a secret.
        raise ConfigError(f"{path}: not valid YAML: {_describe(error)}") from None
    if not isinstance(loaded or {}, dict):
        raise ConfigError(f"{path}: must be a mapping of settings")
    return loaded or {}


def _describe(error: Exception) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return "it cannot be decoded"
    mark = error.problem_mark or error.context_mark
    where = f" in line {mark.line + 1}" if mark else ""
    return f"{error.problem or error.context}{where}"


def _with_values(values: dict[str, Any], kind: type[Section]) -> dict[str, Any]:
    """Return a section without those of its settings that have no value, at any depth."""
    sections = _sections(kind)
    kept = {}
    for key, value in values.items():
        inner = sections.get(key)
        if key not in sections or value not in ("", [], {}):
            kept[key] = _with_values(value, inner) if inner and isinstance(value, dict) else value
    return kept


def _sections(kind: type[Section]) -> Mapping[str, type[Section] | None]:
    """Return the settings of a section by name, each with its own section if it is one."""
    return {
        field.encode_name: next(
            (
                one
                for one in (field.type, *get_args(field.type))
                if isinstance(one, type) and issubclass(one, Section)
            ),
            None,
        )
        for field in msgspec.structs.fields(kind)
    }


def _from_text(kind: Any, text: object) -> object:
    if not isinstance(text, str):
        raise TypeError("must be a text")
    return kind.of(text)


def _refuse(path: Path, kind: type[Section], error: str) -> NoReturn:
    """Raise our error for one of msgspec's."""
    if unknown := _UNKNOWN.fullmatch(error):
        name, where = unknown[1], unknown[3] or ""
        for part in where.split(".") if where else ():
            kind = _sections(kind)[part] or kind
        known = ", ".join(sorted(_sections(kind)))
        Place(path, where).fail(name, "unknown setting", hint=f"known here: {known}")
    if wrong := _WRONG.fullmatch(error):
        Place(path).fail(wrong[3], _WORDS.get(wrong[1], "") or wrong[2] or "has another type")
    raise ConfigError(f"{path}: {error}")
