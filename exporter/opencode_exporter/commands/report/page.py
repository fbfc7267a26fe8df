"""
The page: the report as text, section by section.

Reads nothing but the document; a console tells its width and its characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec
from rich.console import Console, RenderableType
from rich.text import Text

from opencode_exporter.commands.report import sections
from opencode_exporter.commands.report.document import Report
from opencode_exporter.commands.report.headline import headline
from opencode_exporter.commands.report.tables import ASCII, UNICODE, Page
from opencode_exporter.events import OVERFLOW, UNKNOWN

Section = Callable[[Report, Page], Iterator[RenderableType]]
_WIDTH_WHEN_PIPED: Final = 100
_NARROWEST: Final = 60
_WIDEST: Final = 120
_SECTIONS: Final[Mapping[str, Section]] = {
    "Skills": sections.skills,
    "Installed but not used": sections.never_used,
    "Skill runs": sections.runs,
    "Tools": sections.tools,
    "Edit formats by model": sections.edits,
    "Files by language": sections.languages,
    "Models": sections.models,
    "Transitions between skills": sections.transitions,
    "Skills by agent": sections.agents,
}
_SUCCESS: Final = (
    "Success: completed of completed and failed invocations, succeeded of succeeded and failed "
    "turns and runs; all other ends stand apart. p50, p95: estimated from histograms."
)
_NOTES: Final = {
    UNKNOWN: "the source did not say, or the model named what does not exist.",
    OVERFLOW: "what is beyond the number of names that a label may have, or on no shipped list.",
}


def console_for(environ: Mapping[str, str]) -> Console:
    """Return a console on stdout: as wide as the terminal, or as COLUMNS says, or 100."""
    console = Console(highlight=False, markup=False, emoji=False)
    width = console.width
    if not console.is_terminal:
        columns = environ.get("COLUMNS", "")
        width = int(columns) if columns.isdecimal() and int(columns) else _WIDTH_WHEN_PIPED
    console.width = max(_NARROWEST, min(width, _WIDEST))
    return console


def render(report: Report, console: Console, *, top: int) -> str:
    """
    Return the page as text for a console.

    Args:
        report: The document.
        console: Its width, colours and characters are used; nothing is printed on it.
        top: The most rows of a table.
    """
    page = Page(console.width, top, ASCII if console.options.ascii_only else UNICODE)
    body = _printed(console, _sections(report, page))
    notes = [f"{name}: {meaning}" for name, meaning in _NOTES.items() if name in body]
    text = body + _printed(console, [Text(note, style="dim") for note in ("", _SUCCESS, *notes)])
    # Cells are filled up with blanks, which are nothing to paste.
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _sections(report: Report, page: Page) -> Iterator[RenderableType]:
    yield from headline(report, page)
    for title, section in _SECTIONS.items():
        yield ""
        yield Text(title, style="bold cyan")
        yield from section(report, page)


def _printed(console: Console, parts: Iterable[RenderableType]) -> str:
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


def output(
    report: Report, form: Literal["terminal", "json"], top: int, environ: Mapping[str, str]
) -> bytes:
    """Return the report for stdout: JSON, or a page in the characters that stdout can show."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    console = console_for(environ)
    return render(report, console, top=top).encode(console.encoding, "replace")
