"""
The service: the exporter as a process, wired to its poll loop, web server, pushes and signals.

Serves what has been committed at any time.  Ends within two seconds of a signal with
everything committed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Final

from opencode_exporter import __version__
from opencode_exporter.clock import SystemClock
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.target import SpanTarget, Target
from opencode_exporter.expose.prometheus import Rendered
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.service.poll_loop import PollLoop
from opencode_exporter.source.watcher import Watcher
from opencode_exporter.web.app import WebServer
from opencode_exporter.web.connections import raise_file_limit
from opencode_exporter.web.landing import Landing

if TYPE_CHECKING:
    from opencode_exporter.expose.otlp.metrics_push import Push
    from opencode_exporter.expose.otlp.span_push import Tracing

log = logging.getLogger(__name__)

_TAKE_IN_S: Final = 1.0  # a push waits as long for its poll as a scrape
_LAST_PUSH_S: Final = 1.0


class Service:
    """
    The exporter as a process that serves until it is told to end.

    Args:
        exporter: What is served.
        target: Where to push as well, if anywhere.
        traces: Where to send spans, likewise.
    """

    def __init__(
        self,
        exporter: Exporter,
        target: Target | None = None,
        traces: SpanTarget | None = None,
    ) -> None:
        self._exporter = exporter
        self._settings = exporter.settings
        self._stop = asyncio.Event()
        self._polls = PollLoop(
            self._poll,
            interval_s=self._settings.poll_interval_ms / 1000,
            polled=self._after_poll,
        )
        self._push = self._push_to(target) if target else None
        self._tracing = self._trace_to(traces) if traces else None
        self._web = WebServer(
            self,
            addresses=self._settings.listen,
            telemetry_path=self._settings.telemetry_path,
            web_config=self._settings.web_config,
            allowed_hosts=self._settings.allowed_hosts,
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        raise_file_limit()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        log.info("starting", extra={"version": __version__, "pid": os.getpid()})
        watcher = Watcher(self._polls.changed, force_polling=self._settings.force_polling)
        for one in self._sending():
            one.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._web.serve())
                tasks.create_task(self._poll_until_stopped())
                tasks.create_task(watcher.watch(self._exporter.directories, self._stop))
                tasks.create_task(self._end())
        finally:
            for one in self._sending():
                one.stop(0)
            self._exporter.close()
        log.info("stopped")

    def stop(self) -> None:
        """End: the running poll commits what it has, the page goes away."""
        self._exporter.poller.stop()
        self._polls.stop()
        self._stop.set()

    async def _end(self) -> None:
        await self._stop.wait()
        self._web.stop()

    def _reload(self) -> None:
        try:
            self._web.reload()
        except ConfigError as err:
            log.warning("web configuration kept", extra={"err": err.message, "hint": err.hint})

    async def _poll_until_stopped(self) -> None:
        await self._polls.run()
        # All at once, while the web server ends.
        ends = (asyncio.to_thread(one.stop, _LAST_PUSH_S) for one in self._sending())
        await asyncio.gather(*ends)

    def _poll(self, is_asked: bool) -> float:
        """Poll once; a source that has just failed is left alone, unless somebody asks."""
        self._exporter.poll(patiently=not is_asked)
        return min(self._settings.poll_interval_ms / 1000, self._exporter.retry_s())

    def _after_poll(self) -> None:
        if self._push:
            self._push.polled(is_ready=self.ready() is None)

    def _push_to(self, target: Target) -> Push:
        # Not at the top: a run that does not push needs neither the time nor the memory.
        from opencode_exporter.expose.otlp.metrics_push import Push  # noqa: PLC0415

        pages = self._exporter.pages
        return Push(
            target,
            self._exporter.ledger.notes.instance_id,
            SystemClock(),
            take_in=partial(self._take_in, target.viewer),
            snapshot=partial(pages.snapshot_for, target.viewer),
            exports=self._exporter.pushes.exports,
        )

    def _trace_to(self, target: SpanTarget) -> Tracing:
        from opencode_exporter.expose.otlp.span_push import Tracing  # noqa: PLC0415  # as above

        settings = self._exporter.settings
        return Tracing(
            target,
            self._exporter.ledger,
            settings.filters,
            settings.project_names,
            SystemClock(),
            self._exporter.pushes,
        )

    def _sending(self) -> list[Push | Tracing]:
        return [one for one in (self._push, self._tracing) if one]

    def _take_in(self, viewer: str) -> None:
        """Do for a push, from its thread, what is done for a scrape."""
        self._exporter.pages.expect(viewer)
        self._polls.poll_from_thread(_TAKE_IN_S)

    # What the web server asks.

    async def metrics(self, accept: str, timeout_s: float, viewer: str) -> Rendered:
        """Take in what was committed before now, if the time allows, and render."""
        if viewer:
            self._exporter.pages.expect(viewer)
        await self._polls.poll_before(timeout_s)
        return await asyncio.to_thread(self._exporter.pages.metrics, accept, viewer=viewer)

    def ready(self) -> str | None:
        """Return None once the history is in, else why not."""
        return self._exporter.pages.not_ready()

    def damage(self) -> str:
        """Return what cannot be read of the history, or nothing."""
        return self._exporter.pages.damage()

    def landing(self) -> Landing:
        """Return what the landing page shows."""
        return self._exporter.pages.landing()
