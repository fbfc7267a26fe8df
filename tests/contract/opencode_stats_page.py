"""
What `opencode stats` prints: running it, reading its tables, rounding as it does.

Owns the words and the precision of that page.  Knows nothing of the exporter.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Final

from contract.recorder.binaries import Binary
from contract.recorder.provision import PROJECT, environment

_LONGEST_S: Final = 120
_LONGEST_NAME: Final = 18
_FIGURE: Final = re.compile(r"│(?P<label>\S.*?) {2,}(?P<value>\S+) │")
_MODEL: Final = re.compile(r"│ (?P<model>\S+/\S+) +│")
_OF_MODEL: Final = re.compile(r"│  (?P<label>\S.*?) {2,}(?P<value>\S+) │")
_TOOL: Final = re.compile(r"│ (?P<tool>\S+) +█+ +(?P<count>\d+) \( *[\d.]+%\) +│")
_RULE: Final = re.compile(r"(\x1b\[1A)?[┌├└]─+[┐┤┘]")
_HEADING: Final = re.compile(r"│ {3,}[A-Z &]+ │")


@dataclass
class Page:
    """The page: figures by label, those of a model by model and label, calls by tool."""

    figures: dict[str, str] = field(default_factory=dict)
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    tools: Counter[str] = field(default_factory=Counter)


def database(root: Path) -> Path:
    """Return where OpenCode has its database in a home below `root`."""
    return Path(environment(root)["XDG_DATA_HOME"], "opencode", "opencode.db")


def stats(opencode: Binary, root: Path) -> Page:
    """Return what OpenCode prints about the database in the home below `root`."""
    (root / PROJECT).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(opencode.path), "stats", "--models"],
        cwd=root / PROJECT,
        env=environment(root),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=True,
    )
    return parsed(done.stdout)


def parsed(shown: str) -> Page:
    """
    Return the figures of a printed page.

    Raises:
        ValueError: A line is none that is known; nothing is left unread.
    """
    page = Page()
    model: dict[str, str] = {}
    for line in filter(str.strip, shown.splitlines()):
        if _RULE.fullmatch(line) or _HEADING.fullmatch(line):
            continue
        if found := _TOOL.fullmatch(line):
            page.tools[found["tool"]] += int(found["count"])
        elif found := _MODEL.fullmatch(line):
            model = page.models.setdefault(found["model"], {})
        elif found := _OF_MODEL.fullmatch(line):
            model[found["label"]] = found["value"]
        elif found := _FIGURE.fullmatch(line):
            page.figures[found["label"]] = found["value"]
        else:
            raise ValueError(f"not a line of `opencode stats`: {line!r}")
    return page


def count(number: float) -> str:
    """Return a number of sessions or messages as it is printed: whole, in groups of three."""
    return f"{number:,.0f}"


def tokens(number: float) -> str:
    """Return a number of tokens, or a mean, as it is printed: one decimal from a thousand on."""
    number = int(_rounded(number, "1"))
    if number >= 1_000_000:
        return f"{_rounded(number / 1_000_000, '0.1')}M"
    if number >= 1_000:
        return f"{_rounded(number / 1_000, '0.1')}K"
    return str(number)


def tool(name: str) -> str:
    """Return the name of a tool as it is printed: a long one is cut."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 2]}.."


def dollars(printed: str) -> tuple[float, float]:
    """Return an amount and the most by which rounding to its last digit can have moved it."""
    digits = Decimal(printed.removeprefix("$"))
    exponent = digits.as_tuple().exponent
    assert isinstance(exponent, int)
    return float(digits), 0.5 * 10.0**exponent


def _rounded(number: float, unit: str) -> Decimal:
    # JavaScript rounds the exact binary value, and halves up; Python rounds halves to even.
    return Decimal(number).quantize(Decimal(unit), ROUND_HALF_UP)
