"""
The landing page: the exporter, its sources, and the links to metrics and health.

Every text from outside is escaped, and the page loads nothing from anywhere.
Nothing here knows how the state came to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

# Read now: when a client asks, there may be no file left to open it with.
_TEMPLATE = Template(files("opencode_exporter.web").joinpath("landing.html").read_text("utf-8"))

# Styles stand in the page; anything else a browser is told not to run or load.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class LandingRow:
    """One watched source: its label, where it is, and how it is in a sentence."""

    label: str
    path: str
    state: str


@dataclass(frozen=True, slots=True)
class Landing:
    """
    The content of the landing page.

    Attributes:
        ready: None, or a sentence why not yet.
    """

    name: str
    version: str
    description: str
    rows: tuple[LandingRow, ...]
    ready: str | None


def render_landing(landing: Landing, telemetry_path: str) -> str:
    """Return the page as HTML."""
    pages = {
        telemetry_path: "metrics",
        "/-/healthy": "is the process alive",
        "/-/ready": "has all of the history been counted",
    }
    return _TEMPLATE.substitute(
        name=escape(landing.name),
        version=escape(landing.version),
        description=escape(landing.description),
        mood="ok" if landing.ready is None else "wait",
        status="Ready." if landing.ready is None else escape(landing.ready),
        sources=_table(landing.rows) if landing.rows else "<p>No source is watched yet.</p>",
        # Relative, so that they also hold behind a proxy that adds a prefix.
        links="\n".join(
            f'<li><a href=".{escape(path)}"><code>{escape(path)}</code></a>'
            f" <small>{escape(text)}</small></li>"
            for path, text in pages.items()
        ),
    )


def _table(rows: tuple[LandingRow, ...]) -> str:
    head = "<tr><th scope=col>Source</th><th scope=col>Path</th><th scope=col>State</th></tr>"
    body = "\n".join(
        f"<tr><td>{escape(row.label)}</td><td><code>{escape(row.path)}</code></td>"
        f"<td>{escape(row.state)}</td></tr>"
        for row in rows
    )
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
