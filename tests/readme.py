"""
The README's generated parts: flags, metrics and label values, from the code.

Each part stands between two comments, ``<!-- name -->`` and ``<!-- /name -->``.
``python tests/readme.py --write`` writes them anew, ``--check`` says which differ.
Knows nothing of the text around them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, get_args

import click

from opencode_exporter import catalog, classify, events
from opencode_exporter.cli import _COMMANDS as COMMANDS
from opencode_exporter.skills import Scope

README: Final = Path(__file__).parent.parent / "README.md"
_TITLES: Final = {
    "skills": "Skills",
    "tools": "Tools",
    "source": "The source",
    "self": "The exporter itself",
}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def flags() -> dict[str, tuple[click.Option, list[str]]]:
    """Return every flag with the commands that take it; ``--help`` is taken for granted."""
    found: dict[str, tuple[click.Option, list[str]]] = {}
    owners = {"": COMMANDS, **{name: COMMANDS.commands[name] for name in _in_order()}}
    for owner, command in owners.items():
        for option in command.params:
            if isinstance(option, click.Option):
                found.setdefault(option.opts[0], (option, []))[1].append(owner)
    return found


def _in_order() -> list[str]:
    return sorted(COMMANDS.commands, key=["serve", "once", "check", "demo"].index)


def _flag_row(name: str, option: click.Option, owners: list[str]) -> list[str]:
    context = click.Context(COMMANDS)
    extra = option.get_help_extra(context)
    default = f"`{extra['default']}`" if "default" in extra else ""
    limits = f" ({extra['range']})" if "range" in extra else ""
    kind = option.make_metavar(context).removesuffix(" RANGE") if not option.is_flag else ""
    return [
        f"`{name}`" + (f" `{kind}`" if kind else ""),
        default + limits,
        "before the command" if owners == [""] else ", ".join(owners),
        (option.help or "") + (f" <br>`{option.envvar}`" if option.envvar else ""),
    ]


def flag_table() -> str:
    """Return the flags of every command, each once."""
    rows = [_flag_row(name, *found) for name, found in flags().items()]
    return _table(["flag", "default", "command", "meaning, environment variable"], rows)


def metric_tables() -> str:
    """Return one table for each group of the catalogue."""
    parts = []
    for group, title in _TITLES.items():
        rows = (
            [f"`{metric.name}`", metric.kind, ", ".join(metric.labels), metric.help]
            for metric in catalog.METRICS
            if metric.group == group
        )
        parts.append(f"### {title}\n\n" + _table(["metric", "type", "labels", "meaning"], rows))
    return "\n\n".join(parts)


_STATUS: Final = {
    events.COMPLETED: "it ended well",
    events.ERROR: "the call failed",
    events.DENIED: "a rule or the user refused it",
    events.ABORTED: "the user interrupted it",
    events.ABANDONED: "it never ended: its process died",
}
_REASON: Final = {
    "not_found": "the skill, tool or file does not exist",
    "invalid_arguments": "the model's call was malformed",
    "timeout": "it took too long",
    "network": "a connection failed",
    "edit_mismatch": "the text to replace was not there, or there twice",
    "file_access": "the file system refused",
    "missing_dependency": "a program that OpenCode needs is not installed",
    "other": "anything else",
}
_EXIT: Final = {
    "zero": "exit code 0",
    "nonzero": "another exit code",
    "timeout": "it was stopped after its timeout",
    "killed": "it ended without an exit code",
    "unknown": "the source does not say",
}
_TRIGGER: Final = {
    events.MODEL: "the model called the tool `skill`",
    events.USER: "a slash command or a mention (2.x records them, 1.x does not)",
}
_SCOPE: Final = {
    "project": "below a project's directory",
    "user": "below the user's home or configuration",
    "builtin": "comes with OpenCode",
}


def exits() -> list[str]:
    """Return every class of a shell call's end, as the code tells them apart."""
    ended = ((0, ""), (1, ""), (None, "exceeded timeout"), (None, ""))
    known = [classify.shell_exit(code, text, ended=True) for code, text in ended]
    return [*known, classify.shell_exit(None, "", ended=False)]


def categories() -> dict[str, str]:
    """Return the categories of tools, each with its built-in tools."""
    found: dict[str, list[str]] = {}
    for tool, category in classify.CATEGORIES.items():
        found.setdefault(category, []).append(tool)
    meanings = {name: _code(tools) for name, tools in found.items() if name != "other"}
    meanings["mcp"] = "tools of the MCP servers in OpenCode's configuration"
    return meanings | {"other": _code(found["other"]) + "; plugins and custom tools"}


def _explained(label: str, values: Iterable[str], meanings: Mapping[str, str]) -> list[str]:
    named = list(values)
    if apart := set(named) ^ set(meanings):
        raise ValueError(f"no meaning, or no value, of {label}: {apart}")
    return [f"`{label}`", "<br>".join(f"`{value}`: {meanings[value]}" for value in named)]


def label_table() -> str:
    """Return the values of the labels with a fixed set."""
    rows = [
        _explained("status", events.STATUSES, _STATUS),
        _explained("reason", classify.REASONS, _REASON),
        _explained("exit", exits(), _EXIT),
        _explained("trigger", (events.MODEL, events.USER), _TRIGGER),
        _explained("category", categories(), categories()),
        _explained("scope", get_args(Scope), _SCOPE),
    ]
    return _table(["label", "values"], rows)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "flags": flag_table,
    "metrics": metric_tables,
    "labels": label_table,
}


def part_of(text: str, name: str) -> str:
    """Return what stands between the two comments of a part."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"the README has no part {name!r}")
    return found[1]


def written_anew(text: str) -> str:
    """Return a README with its generated parts as they should be."""
    for name, make in PARTS.items():
        text = text.replace(
            f"<!-- {name} -->\n{part_of(text, name)}\n<!-- /{name} -->",
            f"<!-- {name} -->\n{make()}\n<!-- /{name} -->",
        )
    return text


def main(arguments: list[str]) -> int:
    """Write the parts anew, or say which differ."""
    text = README.read_text("utf-8")
    if arguments == ["--write"]:
        README.write_text(written_anew(text), "utf-8")
        return 0
    if arguments == ["--check"]:
        stale = [name for name, make in PARTS.items() if part_of(text, name) != make()]
        if stale:
            sys.stderr.write(f"README.md is stale: {', '.join(stale)}; run `make docs`\n")
        return bool(stale)
    sys.stderr.write("usage: python tests/readme.py --write | --check\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
