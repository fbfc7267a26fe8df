"""
Pages: what the exporter answers to a client, from ledger and poller.

Takes a snapshot and has it rendered.  Knows no HTTP and starts no poll.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from typing import Final

import apsw

from opencode_exporter import __version__
from opencode_exporter.clock import Clock, steady_ms
from opencode_exporter.errors import printable
from opencode_exporter.expose.health import PushHealth
from opencode_exporter.expose.prometheus import Rendered, Renderer
from opencode_exporter.expose.shown import Surroundings, take
from opencode_exporter.expose.snapshot import Snapshot
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.service.poller import Poller
from opencode_exporter.service.settings import Settings
from opencode_exporter.web.landing import Landing, LandingRow

BUILD: Final = (__version__, platform.python_version(), apsw.sqlite_lib_version())


class Pages:
    """The state of one exporter, as a client sees it."""

    def __init__(
        self,
        ledger: Ledger,
        poller: Poller,
        pushes: PushHealth,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._poller = poller
        self._pushes = pushes
        self._settings = settings
        self._clock = clock
        self._renderer = Renderer(created=settings.created_timestamps)
        self._started_ms = clock.now_ms()

    def snapshot(self) -> Snapshot:
        """Return every series as of now, and since when each counts."""
        around = Surroundings(
            sources=self._poller.shown,
            gone=self._poller.gone,
            skills=self._poller.installed.skills,
            servers=self._poller.installed.servers,
            exports=self._pushes.exports,
            spans=self._pushes.spans,
            exemplars=self._pushes.exemplars.latest(),
            ledger_bytes=self._ledger.size(),
            build=BUILD,
            started_ms=self._started_ms,
            projects=self._settings.project_names,
            filters=self._settings.filters,
            series_limit=self._settings.series_limit,
            steady_ms=steady_ms(self._clock),
            now_ms=self._clock.now_ms(),
        )
        return take(self._ledger.published, around)

    def expect(self, viewer: str) -> None:
        """Note a viewer before the poll that is made for it: that poll writes it to disk."""
        published = self._ledger.published
        published.viewers.expect(viewer, published.births)

    def snapshot_for(self, viewer: str) -> tuple[Snapshot, Callable[[], None]]:
        """
        Return the snapshot for a viewer that adds up increases, and what to call when it arrived.

        Series that appeared since the viewer's last snapshot are at 0 first.
        """
        viewers = self._ledger.published.viewers  # before the snapshot: they may know less
        snapshot = self.snapshot()
        return snapshot.for_viewer(viewers.mark(viewer)), partial(
            viewers.shown, viewer, snapshot.births
        )

    def metrics(self, accept: str, *, process: bool = True, viewer: str = "") -> Rendered:
        """
        Return the page of metrics.

        Args:
            accept: The formats asked for.
            process: Whether ``process_*`` and ``python_info`` are on it.
            viewer: The viewer, see `snapshot_for`; empty for clients that are none.
        """
        if not viewer:
            return self._renderer.render(self.snapshot(), accept, process=process)
        snapshot, sent = self.snapshot_for(viewer)
        return self._renderer.render(snapshot, accept, process=process)._replace(sent=sent)

    def not_ready(self) -> str | None:
        """Return why the history is not in yet, or None when it is."""
        if self._ledger.published.baseline_ms:
            return None
        health = self._poller.health
        if any(not state.problem and (state.up or state.progress) for state in health.values()):
            shares = ", ".join(
                f"{label}: {state.problem}" if state.problem else f"{label} {state.progress:.0%}"
                for label, state in health.items()
            )
            return f"History is being read: {shares}."
        return "No database can be read: " + "; ".join(
            f"{label}: {state.problem or 'not looked at yet'}" for label, state in health.items()
        )

    def damage(self) -> str:
        """Return a sentence on what of the history is missing for good, or nothing."""
        return "; ".join(
            f"{label}: {state.problem}"
            for label, state in self._poller.health.items()
            if state.is_damaged
        )

    def landing(self) -> Landing:
        """Return what the landing page shows."""
        rows = tuple(
            LandingRow(label, printable(source.path), self._state(label))
            for label, source in self._poller.sources.items()
        )
        if aside := self._ledger.notes.set_aside:
            state = f"counts since the one before it was found damaged; that is kept as {aside}"
            rows += (LandingRow("ledger", printable(self._settings.ledger_path or ""), state),)
        return Landing(
            name="opencode-exporter",
            version=__version__,
            description="Every skill and tool invocation of OpenCode, counted exactly once.",
            rows=rows,
            ready=self.not_ready(),
        )

    def _state(self, label: str) -> str:
        state = self._poller.health[label]
        if state.problem:
            return state.problem
        if not state.up:
            return f"being read, {state.progress:.0%}"
        return "; ".join(
            f"{generation}, last written by OpenCode {version or '(unknown)'}"
            for generation, version in state.versions.items()
        )
