"""
Strict reading of a YAML settings file: what is not understood is an error.

Every scalar stays the text that was written, so `on`, `123` or `null` can be a
user name, and every complaint names the file and the key.  No value is ever
quoted in a message when it may be a secret.
Nothing here knows which settings exist.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from opencode_exporter.errors import ConfigError

# The spellings of YAML 1.1, which the exporter-toolkit's parser accepts.
_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})

_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


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


@dataclass(frozen=True, slots=True)
class Section:
    """One mapping of the file, which knows where it stands."""

    file: Path
    name: str
    values: Mapping[str, Any]

    def fail(self, key: str, fact: str, *, hint: str = "") -> NoReturn:
        """Raise the error for one key of this section."""
        where = ".".join(part for part in (self.name, key) if part)
        raise ConfigError(f"{self.file}: {where}: {fact}", hint=hint)

    def only(self, known: Iterable[str]) -> None:
        """Refuse a key that is not among the known ones."""
        names = sorted(known)
        for key in self.values:
            if key not in names:
                self.fail(key, "unknown setting", hint=f"known here: {', '.join(names)}")

    def text(self, key: str, default: str = "") -> str:
        """Return a text; one that is absent or empty is the default."""
        value = self.values.get(key, "")
        if not isinstance(value, str):
            self.fail(key, "must be a text")
        return value or default

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty when absent."""
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.fail(key, "must be a list of texts")
        return tuple(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a truth value."""
        text = self.text(key).lower()
        if text and text not in _TRUE | _FALSE:
            self.fail(key, "must be true or false")
        return text in _TRUE if text else default

    def number(self, key: str, default: int = 0) -> int:
        """Return a whole number of at most 9 digits, not negative."""
        text = self.text(key)
        if text and re.fullmatch(r"[0-9]{1,9}", text) is None:
            self.fail(key, "must be a whole number, not negative")
        return int(text) if text else default

    def seconds(self, key: str) -> float:
        """Return a duration such as `1s` or `1m30s` in seconds, 0 when absent."""
        text = self.text(key, "0")
        if text == "0":
            return 0.0
        parts = _DURATION_PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(key, "must be a duration", hint="for example 1s, 500ms or 1m30s")
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)

    def section(self, key: str) -> Section:
        """Return a mapping inside this one, empty when absent."""
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            self.fail(key, "must be a mapping of settings")
        inner = ".".join(part for part in (self.name, key) if part)
        return Section(self.file, inner, value)


def read_yaml(path: Path) -> Section:
    """
    Read a file as the outermost section.

    Raises:
        ConfigError: The file cannot be read, or is not one YAML mapping.
    """
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
    return Section(path, "", loaded or {})


def _describe(error: Exception) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return "it cannot be decoded"
    mark = error.problem_mark or error.context_mark
    where = f" in line {mark.line + 1}" if mark else ""
    return f"{error.problem or error.context}{where}"
