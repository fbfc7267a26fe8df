"""
The configuration file: TOML with defaults for flags.

A key is a flag without its dashes, dotted or in tables.  A key that is no flag, or a
value of another type, is refused with a sentence.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click


def defaults(path: Path, commands: Mapping[str, click.Command]) -> dict[str, dict[str, Any]]:
    """
    Return the defaults in a file, by command, as click takes them.

    Raises:
        click.ClickException: The file or one of its keys cannot be used.
    """
    try:
        given = _flat(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as err:
        raise click.ClickException(f"configuration file {path} cannot be read ({err})") from err
    known = {
        str(parameter.name): parameter
        for command in commands.values()
        for parameter in command.params
    }
    for key, value in given.items():
        if key not in known:
            raise click.ClickException(f"configuration file {path}: unknown key {key!r}")
        if known[key].multiple and isinstance(value, str) and "\0" not in value:
            given[key] = [value]
        elif not _fits(known[key], value):
            raise click.ClickException(f"configuration file {path}: {key} cannot be {value!r}")
    return dict.fromkeys(commands, given)


def _fits(parameter: click.Parameter, value: Any) -> bool:
    """Return whether a value of TOML has the type to which the flag converts its text."""
    if isinstance(value, list):
        return parameter.multiple and all(isinstance(one, str) and "\0" not in one for one in value)
    if isinstance(parameter.type, click.types.BoolParamType):
        return isinstance(value, bool)
    if isinstance(parameter.type, click.types.IntParamType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(parameter.type, click.types.FloatParamType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) and "\0" in value:  # no path, and in no command line either
        return False
    return isinstance(value, str)  # a number would be a duration without its unit


def _flat(found: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in found.items():
        name = f"{prefix}{key}".replace("-", "_").replace(".", "_")
        flat |= _flat(value, f"{name}_") if isinstance(value, dict) else {name: value}
    return flat
