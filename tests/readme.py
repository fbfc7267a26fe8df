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
from typing import Final

import click

from label_meanings import LABELS
from opencode_exporter import catalog
from opencode_exporter.cli import _COMMANDS as COMMANDS

README: Final = Path(__file__).parent.parent / "README.md"
TITLES: Final = {
    "skills": "Skills",
    "tools": "Tools",
    "edits": "Edits and files",
    "sessions": "Sessions, turns and models",
    "source": "The source",
    "self": "The exporter itself",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    return sorted(COMMANDS.commands, key=["serve", "once", "report", "check", "demo"].index)


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
    return table(["flag", "default", "command", "meaning, environment variable"], rows)


def metric_tables() -> str:
    """Return one table for each group of the catalogue."""
    parts = []
    for group, title in TITLES.items():
        rows = (
            [f"`{metric.name}`", metric.kind, ", ".join(metric.labels), metric.help]
            for metric in catalog.METRICS
            if metric.group == group
        )
        parts.append(f"### {title}\n\n" + table(["metric", "type", "labels", "meaning"], rows))
    return "\n\n".join(parts)


def label_table() -> str:
    """Return the values of those labels that most queries select by."""
    rows = []
    for name in ("status", "reason", "exit", "outcome", "trigger", "category", "scope"):
        values = LABELS[name].values.items()
        rows.append([f"`{name}`", "<br>".join(f"`{value}`: {text}" for value, text in values)])
    return table(["label", "values"], rows)


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
