"""
The generated parts of the documents: metrics, flags, alerts, and what users will see.

Each part stands between two comments, ``<!-- name -->`` and ``<!-- /name -->``, in the page
that `PARTS` names.  ``make docs`` writes them anew, ``--check`` names the files that differ.
Knows nothing of the text around them.  What users see is made from the demo, at a
time that never passes, so that it is the same on every machine.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final
from unittest import mock

import click
import yaml
from rich.console import Console

from documents import home, reference
from documents.tables import table
from harness.clock import FakeClock
from harness.exporters import Bench
from harness.places import DEPLOY, ROOT
from opencode_exporter.commands.cli import cli
from opencode_exporter.commands.report import Asked, figures, render
from opencode_exporter.demo import Demo

RULES: Final = DEPLOY / "prometheus"
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


def flags() -> dict[str, tuple[click.Option, list[str]]]:
    """Return every flag with the commands that take it; ``--help`` is taken for granted."""
    found: dict[str, tuple[click.Option, list[str]]] = {}
    owners = {"": cli, **{name: cli.commands[name] for name in _in_order()}}
    for owner, command in owners.items():
        for option in command.params:
            if isinstance(option, click.Option):
                found.setdefault(option.opts[0], (option, []))[1].append(owner)
    return found


def _in_order() -> list[str]:
    return sorted(cli.commands, key=["serve", "once", "report", "check", "backfill", "demo"].index)


def _flag_row(name: str, option: click.Option, owners: list[str]) -> list[str]:
    context = click.Context(cli)
    extra = option.get_help_extra(context)
    default = f"`{_default(option, extra['default'])}`" if "default" in extra else ""
    limits = f" ({extra['range']})" if "range" in extra else ""
    kind = option.make_metavar(context).removesuffix(" RANGE") if not option.is_flag else ""
    return [
        f"`{name}`" + (f" `{kind}`" if kind else ""),
        default + limits,
        "before the command" if owners == [""] else ", ".join(owners),
        (option.help or "") + (f" <br>`{option.envvar}`" if option.envvar else ""),
    ]


def _default(option: click.Option, as_click_says: str) -> str:
    """Return a default as a reader says it; click names that of a pair by one of its flags."""
    if not option.secondary_opts:
        return as_click_says
    return "on" if option.default else "off"


def flag_table() -> str:
    """Return the flags of every command, each once."""
    rows = [_flag_row(name, *found) for name, found in flags().items()]
    return table(["flag", "default", "command", "meaning, environment variable"], rows)


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
        for path in sorted((RULES / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    runbooks = (RULES / "RUNBOOKS.md").read_text("utf-8")
    meanings = re.findall(r"^### (\w+)\n\n\*\*Means\.\*\* (.+?[.])(?:\s|$)", runbooks, re.MULTILINE)
    rows = (
        [f"[`{name}`](RUNBOOKS.md#{name.lower()})", severities[name], meaning.rstrip(".")]
        for name, meaning in meanings
    )
    return table(["alert", "severity", "means"], rows)


Parts = Mapping[str, tuple[str, Callable[[], str]]]
"""By name of the part: the page in which it stands, and what makes it."""
DEMO: Final[Parts] = {
    "page": ("README.md", page_excerpt),
    "report": ("README.md", report_excerpt),
}
"""What takes a while: a week of the demo is made for it."""
PARTS: Final[Parts] = {
    **DEMO,
    "contents": ("exporter/METRICS.md", reference.contents),
    "metrics": ("exporter/METRICS.md", reference.reference),
    "flags": ("exporter/COMMANDS.md", flag_table),
    "alerts": ("deploy/prometheus/README.md", alert_table),
}
"""All of them."""


def part_of(text: str, name: str) -> str:
    """Return what stands between the two comments of a part."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"there is no part {name!r}")
    return found[1]


def written_anew(root: Path, parts: Parts = PARTS) -> dict[Path, str]:
    """Return the files below a folder that have generated parts, as they should be."""
    texts = home.with_runbooks(root)
    for name, (page, make) in parts.items():
        path = root / page
        text = texts.get(path) or path.read_text("utf-8")
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        texts[path] = text.replace(f"{begin}{part_of(text, name)}{end}", f"{begin}{make()}{end}")
    return texts


def main(arguments: list[str], root: Path = ROOT, parts: Parts = PARTS) -> int:
    """Write the parts anew, or name the files that differ."""
    if arguments == ["--write"]:
        for path, text in written_anew(root, parts).items():
            path.write_text(text, "utf-8")
        return 0
    if arguments == ["--check"]:
        texts = written_anew(root, parts).items()
        stale = [
            str(path.relative_to(root)) for path, text in texts if path.read_text("utf-8") != text
        ]
        if stale:
            sys.stderr.write(f"stale: {', '.join(stale)}; run `make docs`\n")
        return bool(stale)
    sys.stderr.write("usage: PYTHONPATH=tests python -m documents.pages --write | --check\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
