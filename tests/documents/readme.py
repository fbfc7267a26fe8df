"""
The README's generated parts: flags, metrics and label values, and what users will see.

Each part stands between two comments, ``<!-- name -->`` and ``<!-- /name -->``.
``make docs`` writes them anew, ``--check`` says which differ.
Knows nothing of the text around them.  What users see is made from the demo, at a
time that never passes, so that it is the same on every machine.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final
from unittest import mock

import click
import yaml
from rich.console import Console

from documents.label_meanings import LABELS
from harness.places import ROOT
from harness.support import Bench, FakeClock
from opencode_exporter import catalog
from opencode_exporter.commands.cli import _COMMANDS as COMMANDS
from opencode_exporter.commands.report import Asked, figures, render
from opencode_exporter.demo import Demo

README: Final = ROOT / "README.md"
DEPLOY: Final = README.parent / "deploy" / "prometheus"
TITLES: Final = {
    "skills": "Skills",
    "tools": "Tools",
    "edits": "Edits and files",
    "sessions": "Sessions, turns and models",
    "source": "The source",
    "self": "The exporter itself",
}
_TIDEWATER: Final = 'provider="tidewater"'
SHOWN: Final = (
    'opencode_skill_invocations_total{skill="incident-timeline",status="completed"}',
    'opencode_skill_invocations_total{skill="incident-timeline",status="error"}',
    'opencode_skill_errors_total{reason="missing_dependency",skill="incident-timeline"}',
    'opencode_skill_runs_total{agent="build",outcome="succeeded",skill="commit-style"}',
    'opencode_skill_runs_total{agent="build",outcome="failed",skill="commit-style"}',
    'opencode_skill_run_retries_total{skill="commit-style"}',
    'opencode_skill_run_cost_usd_total{skill="commit-style"}',
    'opencode_skill_installed{scope="user",skill="terraform-drift"}',
    'opencode_tool_invocations_total{status="completed",tool="edit"}',
    'opencode_tool_invocations_total{status="error",tool="edit"}',
    'opencode_tool_duration_seconds_bucket{le="0.08",status="completed",tool="edit"}',
    'opencode_tool_retries_total{tool="edit"}',
    'opencode_shell_exits_total{exit="nonzero",program="npm"}',
    f'opencode_edit_attempts_total{{model="reef-2",{_TIDEWATER},status="completed",tool="patch"}}',
    'opencode_edit_lines_total{change="added",language="go"}',
    'opencode_turns_total{agent="plan",outcome="succeeded"}',
    'opencode_turns_total{agent="plan",outcome="interrupted"}',
    'opencode_tokens_total{model="reef-2",provider="tidewater",token_type="output"}',
    'opencode_cost_usd_total{agent="plan",model="reef-2",project="global",provider="tidewater"}',
    'opencode_up{source="opencode.db"}',
    'opencode_exporter_copies_skipped_total{cause="fork"}',
)
"""Series of the page that the README shows."""
SECTIONS: Final = (
    *("Sessions ", "Skills\n", "Installed but not used\n", "Skill runs\n"),
    "Edit formats by model\n",
)
"""Sections of the report that the README shows, by how they begin."""
ROWS: Final = 5  # of each table of the report
DAYS: Final = 7


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
    return sorted(
        COMMANDS.commands, key=["serve", "once", "report", "check", "backfill", "demo"].index
    )


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
            for metric in catalog.ON_PAGE
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


@cache
def demo() -> tuple[str, str]:
    """Return the page and the report of the demo's first week."""
    with tempfile.TemporaryDirectory() as name:
        directory, clock = Path(name), FakeClock()
        with mock.patch("opencode_exporter.demo.run._now", clock.now_ms):
            played = Demo(directory, generation="v2", history_days=DAYS)
            played.create()
            played.close()
        bench = Bench(directory, clock, {"XDG_CONFIG_HOME": str(directory / "config")})
        exporter = bench.exporter(in_memory=True)
        exporter.poll()
        page = exporter.pages.metrics("").body.decode()
        report = figures(exporter.pages.snapshot().series, Asked(clock.ms))
        exporter.close()
    console = Console(width=100, highlight=False, markup=False, emoji=False, file=io.StringIO())
    return page, render(report, console, top=ROWS)


def page_excerpt() -> str:
    """Return those lines of the page that the README shows."""
    values = dict(line.rsplit(" ", 1) for line in demo()[0].splitlines() if line[:1] != "#")
    return "\n".join(["```", *(f"{series} {values[series]}" for series in SHOWN), "```"])


def report_excerpt() -> str:
    """Return those sections of the report that the README shows."""
    sections = demo()[1].split("\n\n")
    found = [part for name in SECTIONS for part in sections if part.startswith(name)]
    return "\n".join(["```", "\n\n".join(found), "```"])


def alert_table() -> str:
    """Return the alerts with their severities and the first sentence of their runbooks."""
    severities = {
        rule["alert"]: rule["labels"]["severity"]
        for path in sorted((DEPLOY / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    runbooks = (DEPLOY / "RUNBOOKS.md").read_text("utf-8")
    meanings = re.findall(r"^### (\w+)\n\n\*\*Means\.\*\* (.+?[.])(?:\s|$)", runbooks, re.MULTILINE)
    rows = ["| alert | severity | means |", "| --- | --- | --- |"]
    rows += [
        f"| [`{name}`](deploy/prometheus/RUNBOOKS.md#{name.lower()}) | {severities[name]} "
        f"| {meaning.rstrip('.')} |"
        for name, meaning in meanings
    ]
    return "\n".join(rows)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "page": page_excerpt,
    "report": report_excerpt,
    "flags": flag_table,
    "metrics": metric_tables,
    "labels": label_table,
    "alerts": alert_table,
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
    sys.stderr.write("usage: PYTHONPATH=tests python -m documents.readme --write | --check\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
