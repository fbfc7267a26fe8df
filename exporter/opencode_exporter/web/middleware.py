"""
The ASGI middleware of every request: framing, host name, rate, password, size, headers.

Whatever happens behind it, the client gets an answer and the server lives on.
Nothing here knows which pages exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from email.utils import formatdate

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opencode_exporter.web.auth import BasicAuth
from opencode_exporter.web.hosts import Hosts, name_of
from opencode_exporter.web.web_config import RateLimit, WebConfig, WebConfigHolder

log = logging.getLogger(__name__)

# No page wants a body; a small one is read past, a larger one refused.
_BODY_LIMIT_BYTES = 16 * 1024

_DEFAULT_HEADERS = {"X-Content-Type-Options": "nosniff"}

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="opencode-exporter", charset="UTF-8"'}

_CLOSE = {"Connection": "close"}

_SHOWN = re.compile(r"[a-z0-9._-]{1,253}", re.ASCII)

_ZERO_WEIGHT = re.compile(r"q=0(\.0*)?")


class Gate:
    """ASGI middleware that puts the web configuration into effect."""

    def __init__(
        self,
        app: ASGIApp,
        holder: WebConfigHolder,
        hosts: Hosts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._holder = holder
        self._hosts = hosts
        self._auth = BasicAuth()
        self._bucket = _Bucket(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it pass to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _Reply(send, self._holder.current())
        try:
            refusal = await self._refuse(scope, receive, reply.config)
            await (refusal or self._app)(scope, receive, reply)
        except asyncio.CancelledError:
            # Only a shutdown cancels a request; its connection is closed already.
            return
        except Exception as error:
            if reply.started:
                raise
            log.exception("request failed", extra={"path": scope["path"], "err": str(error)})
            await PlainTextResponse("Internal Server Error\n", 500)(scope, receive, reply)

    async def _refuse(self, scope: Scope, receive: Receive, config: WebConfig) -> Response | None:
        headers = Headers(scope=scope)
        return (
            self._misled(scope, headers)
            or self._limited(config)
            or await self._unknown(scope, receive, headers, config)
            or _unfit(scope, headers)
        )

    def _misled(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse a request with two ends, or for the name of another server."""
        if _has_two_ends(scope, headers):
            return PlainTextResponse("Bad Request\n", 400, _CLOSE)
        host = headers.get("host", "")
        if self._hosts.refuses(host, scope.get("server")):
            return _misdirected(name_of(host))
        return None

    def _limited(self, config: WebConfig) -> Response | None:
        if self._bucket.take(config.rate_limit):
            return None
        return PlainTextResponse("Too Many Requests\n", 429)

    async def _unknown(
        self, scope: Scope, receive: Receive, headers: Headers, config: WebConfig
    ) -> Response | None:
        if not config.users:
            return None
        address, _port = scope.get("client") or ("", 0)
        given = headers.get("authorization", "")
        refusal = await self._auth.refusal(config.users, given, address)
        if refusal is None:
            return None
        await _hold(receive, refusal.seconds)
        if refusal.is_compared:
            return PlainTextResponse("Unauthorized\n", 401, _CHALLENGE)
        return PlainTextResponse("Too Many Requests\n", 429)


async def _hold(receive: Receive, seconds: float) -> None:
    """Wait some seconds, or until the client has gone."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass


def _unfit(scope: Scope, headers: Headers) -> Response | None:
    """Refuse a body that is too large or of unknown size, and a path that no page has."""
    if "transfer-encoding" in headers:
        return PlainTextResponse("Length Required\n", 411)
    if int(headers.get("content-length", "0")) > _BODY_LIMIT_BYTES:
        return PlainTextResponse("Content Too Large\n", 413)
    if not scope["path"].isprintable():
        return PlainTextResponse("Not Found\n", 404)
    return None


def _has_two_ends(scope: Scope, headers: Headers) -> bool:
    """
    Return whether another server could see another end of the request than we do.

    The bytes after it may then be a request that its client never made, so the connection
    has to end with the answer (RFC 9112, 6.1).
    """
    return "transfer-encoding" in headers and (
        "content-length" in headers or scope["http_version"] == "1.0"
    )


def _misdirected(host: str) -> Response:
    shown = host if _SHOWN.fullmatch(host) else "that name"
    log.warning("request under a name that is not allowed refused", extra={"host": shown})
    flag = f"--web.allowed-host={shown}" if shown == host else "--web.allowed-host"
    return PlainTextResponse(
        f"Misdirected Request: this exporter is not known as {shown}.\n"
        f"Ask for it by its address or as localhost, or start it with {flag}\n",
        421,
    )


class _Reply:
    """An answer on its way: adds the configured headers, and knows whether it has started."""

    def __init__(self, send: Send, config: WebConfig) -> None:
        self.config = config
        self.started = False
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers["Date"] = formatdate(usegmt=True)
            for name, value in {**_DEFAULT_HEADERS, **self.config.headers}.items():
                if value:
                    headers[name] = value
                elif name in headers:
                    del headers[name]
        await self._send(message)


class _Bucket:
    """A token bucket; it starts full, and again when its limit changes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit: RateLimit | None = None
        self._tokens = 0.0
        self._filled = 0.0

    def take(self, limit: RateLimit | None) -> bool:
        """Take a token if there is one; without a limit there always is."""
        if limit is None:
            return True
        now = self._clock()
        if limit != self._limit:
            self._limit, self._tokens, self._filled = limit, float(limit.burst), now
        earned = (now - self._filled) / limit.interval_s
        self._tokens, self._filled = min(self._tokens + earned, float(limit.burst)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Compress(GZipMiddleware):
    """Starlette's gzip, for clients that give it a weight above zero."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress the answer if the client accepts gzip."""
        accepted = Headers(scope=scope).get("accept-encoding", "")
        if not accepts_gzip(accepted):
            kept = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
            scope = {**scope, "headers": kept}
        await super().__call__(scope, receive, send)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether the header names gzip without refusing it by `q=0`."""
    for part in accept_encoding.lower().split(","):
        coding, *parameters = (text.strip() for text in part.split(";"))
        if coding == "gzip":
            return not any(_ZERO_WEIGHT.fullmatch(parameter) for parameter in parameters)
    return False
