"""The documents, as their tests read them: every page by its path, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from documents.home import HOME
from harness.places import ROOT

_FOLDERS: Final = (
    "*.md",
    *(f"{one}/**/*.md" for one in ("exporter", "deploy", "grafana", "tests")),
)
PAGES: Final = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for pattern in _FOLDERS
    for path in sorted(ROOT.glob(pattern))
}
"""Every document by its path from the root."""
TEXT: Final = "\n".join(text for page, text in PAGES.items() if page != "CHANGELOG.md")
"""All of them but the changelog, which tells what was, too."""
_BLOCK: Final = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def blocks(language: str, text: str = TEXT) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return _BLOCK.sub("", PAGES[page])


def anchors(page: str) -> set[str]:
    """Return the anchors of a page, as GitHub makes them of headings, and those that it sets."""
    headings = re.findall(r"^#+ (.*)", prose(page), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', PAGES[page]))


def links(page: str) -> Iterator[tuple[str, str]]:
    """Yield path from the root, and anchor, of each link from a page to something of ours."""
    text = prose(page)
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'\b(?:src|srcset)="([^"]+)"', text)
    for link in found:
        path, _, anchor = link.partition("#")
        if link.startswith(f"{HOME}/blob/main/"):
            yield path.removeprefix(f"{HOME}/blob/main/"), anchor
        elif not re.match(r"https?:", link):
            target = (ROOT / page).parent / path if path else ROOT / page
            yield target.resolve().relative_to(ROOT).as_posix(), anchor
