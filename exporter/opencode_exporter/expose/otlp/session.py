"""
The session of requests: a push over HTTP, with configured credentials and no others.

Proxies and certificates are those of the environment.  An answer that points elsewhere is
an error: nobody follows it, and nothing is sent to where it points.  An answer is not
waited for, nor kept, beyond what one of OTLP can be.
"""

from __future__ import annotations

import math
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import entry_points
from typing import Any, Final
from urllib.parse import urljoin

from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.exceptions import ReadTimeoutError

from opencode_exporter.clock import SystemClock
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.deadline import TimedAdapter
from opencode_exporter.expose.otlp.url import shown

_MOST: Final = 1 << 20  # bytes of an answer, as they come: a status, and maybe a sentence
_PIECE: Final = 1 << 16
_NO_END: Final = "does not come to an end"
_LONGEST: Final = 200


class RedirectedError(RequestException):
    """The endpoint answers with a redirect, or that nothing has changed."""


class AnswerError(RequestException):
    """What the endpoint answers has no end."""


def session(provider: str = "") -> Session:
    """
    Return a session for the exporters of OpenTelemetry.

    Args:
        provider: The name of a plugin for OpenTelemetry that knows credentials, or nothing.

    Raises:
        ConfigError: There is no such plugin.
    """
    made = _provided(provider) if provider else Session()
    for scheme in ("http://", "https://"):
        if type(made.get_adapter(scheme)) is HTTPAdapter:  # a plugin may have one of its own
            made.mount(scheme, TimedAdapter())
    # Without one, requests takes the password that ~/.netrc has for the host.
    made.auth = made.auth or _OfUrl()
    made.stream = True  # the hook reads
    # OTLP has none, and an endpoint could have us keep any number and send all of them.
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    made.hooks["response"] = [_refuse_redirect, _read_answer]
    return made


def _provided(name: str) -> Session:
    for found in entry_points(group="opentelemetry_otlp_credential_provider", name=name):
        made = found.load()()
        if isinstance(made, Session):
            return made
    raise ConfigError(
        f"OTLP credential provider {name!r} is not installed",
        hint="install its package, or unset OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    )


class _OfUrl(AuthBase):
    """The name and password of the URL, if it has some; else the headers are as configured."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        name, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(name, password)(request) if name or password else request


def _refuse_redirect(response: Response, **_: Any) -> None:
    if not 300 <= response.status_code < 400:
        return
    response.close()
    said = f"it answers {response.status_code}"
    if location := response.headers.get("location"):
        said += f" and points to {_place(response.url, location)}"
    raise RedirectedError(f"{said}: redirects are not followed, name the right endpoint")


def _place(url: str, location: str) -> str:
    """Return where an answer points, without credentials and without signs of no URL."""
    try:
        place = shown(urljoin(url, location))
    except ValueError:
        return "what is no URL"
    return "".join(sign if sign.isprintable() else "_" for sign in place)[:_LONGEST]


def _read_answer(response: Response, *, timeout: float | None = None, **_: Any) -> None:
    """Read an answer to its end, so that the connection can be used again, and drop it."""
    left = (timeout or math.inf) - response.elapsed.total_seconds()
    if said := _endless(response, left):
        response.close()
        raise AnswerError(f"it answers {response.status_code}, and then {said}")


def _endless(response: Response, seconds: float) -> str:
    """Return what is wrong with the end of an answer, or nothing."""
    clock = SystemClock()
    until = clock.monotonic() + seconds
    size = 0
    try:
        while piece := response.raw.read1(_PIECE, decode_content=False):
            size += len(piece)
            if size > _MOST:
                return "more than OTLP has"
            if clock.monotonic() > until:  # a plugin may send by what knows no deadline
                return _NO_END
    except (ReadTimeoutError, TimeoutError):
        return _NO_END
    return ""
