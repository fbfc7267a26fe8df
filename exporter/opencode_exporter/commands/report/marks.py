"""
Marks: the characters and colours of the page, for outputs that know them or not.

Colour only repeats what a number beside it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.box import Box
from rich.text import Text

GOOD: Final = 0.95
FAIR: Final = 0.80


@dataclass(frozen=True)
class Marks:
    """What to draw with."""

    nothing: str
    arrow: str
    between: str
    more: str
    blocks: str  # from narrow to full
    shades: tuple[str, str, str]  # good, fair, bad
    box: Box

    def bar(self, value: float, largest: float, width: int) -> str:
        """Return a bar as long as the value's share of the largest; never empty for a value."""
        if value <= 0 or largest <= 0:
            return ""
        steps = len(self.blocks)
        length = max(1, round(value / largest * width * steps))
        whole, rest = divmod(length, steps)
        return self.blocks[-1] * whole + (self.blocks[rest - 1] if rest else "")

    def shade(self, rate: float) -> str:
        """Return how good a rate is, as a pattern."""
        return self.shades[0 if rate >= GOOD else 1 if rate >= FAIR else 2]


UNICODE: Final = Marks(
    nothing="–",  # noqa: RUF001  # a dash, and meant
    arrow="→",
    between=" · ",
    more="…",
    blocks="▏▎▍▌▋▊▉█",
    shades=("██", "▓▓", "░░"),
    box=Box("    \n    \n ── \n    \n    \n    \n    \n    \n"),
)
ASCII: Final = Marks(
    nothing="-",
    arrow="->",
    between=" | ",
    more="...",
    blocks="#",
    shades=("##", "==", ".."),
    box=Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True),
)


def rate_style(rate: float) -> str:
    """Return the colour of a success rate."""
    return "green" if rate >= GOOD else "yellow" if rate >= FAIR else "red"


def rate_text(text: str, rate: float | None) -> Text:
    """Return a text in the colour of a success rate."""
    return Text(text, style="dim" if rate is None else rate_style(rate))
