"""
The web application on its sockets: metrics, landing page, health and readiness.

Whatever the backend or a client does, the server goes on answering the others,
and it stops within a second.
Nothing here knows what the metrics are; a `Backend` renders them.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from opencode_exporter.errors import ConfigError
from opencode_exporter.web.addresses import bind_all, url_of
from opencode_exporter.web.hosts import Hosts
from opencode_exporter.web.http_server import build_server
from opencode_exporter.web.landing import CONTENT_SECURITY_POLICY, Landing, render_landing
from opencode_exporter.web.middleware import Compress, Gate
from opencode_exporter.web.web_config import WebConfigHolder

log = logging.getLogger(__name__)

_MAX_WAIT_S = 1.0
_TIMEOUT_HEADER = "x-prometheus-scrape-timeout-seconds"
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]*")
_OWN_PATHS = ("/-/healthy", "/-/ready")


class Backend(Protocol):
    """The source of the server's answers."""

    async def metrics(
        self, accept: str, timeout_s: float, viewer: str
    ) -> tuple[bytes, str, Callable[[], None]]:
        """
        Render the metrics, after a poll of what the source has committed.

        Args:
            accept: The Accept header, empty when there was none.
            timeout_s: Wait no longer than this for the poll, then render the counts so far.
            viewer: Identifies the Prometheus server that asks; empty for other clients.

        Returns:
            The page, its content type, and a function to call when the page has been sent.
        """
        ...

    def ready(self) -> str | None:
        """Return None when ready, else a sentence that says why not."""
        ...

    def damage(self) -> str:
        """Return a sentence on history that cannot be read; empty if all can."""
        ...

    def landing(self) -> Landing:
        """Describe the process for the landing page."""
        ...


def scrape_wait_s(header: str | None) -> float:
    """
    Return how long a scrape may wait for a poll: half its timeout, at most a second.

    Args:
        header: `X-Prometheus-Scrape-Timeout-Seconds`; anything but a plain
            number above zero counts as absent.
    """
    if header is None or _NUMBER.fullmatch(header.strip()) is None:
        return _MAX_WAIT_S
    timeout_s = float(header)
    return min(_MAX_WAIT_S, timeout_s / 2) if timeout_s > 0 else _MAX_WAIT_S


def create_app(
    backend: Backend, telemetry_path: str, web_config_holder: WebConfigHolder, hosts: Hosts
) -> Starlette:
    """
    Build the application.

    Raises:
        ConfigError: The telemetry path cannot be served.
    """
    _check_path(telemetry_path)
    pages = _Pages(backend, telemetry_path)
    routes = [
        Route(telemetry_path, pages.metrics),
        Route("/-/healthy", pages.healthy),
        Route("/-/ready", pages.ready),
    ]
    if telemetry_path != "/":
        routes.append(Route("/", pages.landing))
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Gate, holder=web_config_holder, hosts=hosts),
            # Metrics repeat themselves: level 4 is near the best size at half the time.
            Middleware(Compress, minimum_size=1000, compresslevel=4),
        ],
    )
    # A redirect would be built from the client's own Host header.
    app.router.redirect_slashes = False
    return app


def _viewer(request: Request) -> str:
    """Return an identity of a Prometheus server, by address and user agent; empty for others."""
    if _TIMEOUT_HEADER not in request.headers:
        return ""
    address = request.client.host if request.client else ""
    who = f"{address} {request.headers.get('user-agent', '')}".encode()
    return f"scrape {hashlib.blake2b(who, digest_size=8).hexdigest()}"


def _check_path(path: str) -> None:
    if _PATH.fullmatch(path) is None or path.startswith("//"):
        raise ConfigError(
            f"telemetry path {path!r} is not a plain absolute path", hint="for example /metrics"
        )
    if path in _OWN_PATHS:
        raise ConfigError(f"telemetry path {path!r} is taken", hint="for example /metrics")


class _Pages:
    """The endpoints over one backend."""

    def __init__(self, backend: Backend, telemetry_path: str) -> None:
        self._backend = backend
        self._telemetry_path = telemetry_path

    async def metrics(self, request: Request) -> Response:
        accept = ", ".join(request.headers.getlist("accept"))
        wait_s = scrape_wait_s(request.headers.get(_TIMEOUT_HEADER))
        body, content_type, sent = await self._backend.metrics(accept, wait_s, _viewer(request))
        # The page of a client that has gone goes nowhere, so it is not noted as sent.
        has_client = request.method == "GET" and not await request.is_disconnected()
        return Response(
            body,
            # As a header: a media type would get Starlette's charset appended.
            headers={"Content-Type": content_type, "Vary": "Accept"},
            background=BackgroundTask(sent) if has_client else None,
        )

    async def healthy(self, _request: Request) -> Response:
        return PlainTextResponse("OK\n")

    async def ready(self, _request: Request) -> Response:
        why_not = self._backend.ready()
        if why_not is None:
            damage = self._backend.damage()
            return PlainTextResponse(f"OK, but {damage}\n" if damage else "OK\n")
        return PlainTextResponse(f"{why_not}\n", 503)

    async def landing(self, _request: Request) -> Response:
        page = render_landing(self._backend.landing(), self._telemetry_path)
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


class WebServer:
    """
    The application on its sockets.

    The sockets are bound when it is built, so that a port in use is told first;
    connections wait until `serve` runs.

    Args:
        backend: Where the answers come from.
        addresses: Where to listen.
        telemetry_path: Where the metrics are.
        web_config: The web configuration file, if there is one.
        allowed_hosts: Names under which it may be asked, beside its own.

    Raises:
        ConfigError: One of them cannot be used.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        addresses: Sequence[str],
        telemetry_path: str,
        web_config: Path | None,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        self._holder = WebConfigHolder(web_config)
        hosts = Hosts(allowed_hosts)
        app = create_app(backend, telemetry_path, self._holder, hosts)
        self._server = build_server(app, self._holder)
        self._sockets = bind_all(addresses)
        hosts.watch(self._sockets)
        scheme = "https" if self._holder.current().tls else "http"
        self._urls = [url_of(sock, scheme) for sock in self._sockets]

    @property
    def urls(self) -> list[str]:
        """The URLs of the sockets, with the ports that they really have."""
        return list(self._urls)

    async def serve(self) -> None:
        """Answer requests until `stop`, or until cancelled."""
        log.info("listening", extra={"urls": " ".join(self._urls)})
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            self.close()

    def stop(self) -> None:
        """Make `serve` return within a second.  Safe from any thread."""
        self._server.stop()

    def reload(self) -> None:
        """
        Read the web configuration and its certificates again.

        Raises:
            ConfigError: They cannot be used; the old ones stay in effect.
        """
        self._holder.reload()

    def close(self) -> None:
        """Close the sockets; `serve` does so itself."""
        for sock in self._sockets:
            sock.close()
