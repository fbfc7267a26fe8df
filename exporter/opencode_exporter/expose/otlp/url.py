"""
URLs of endpoints: which can be one, and how they are shown.

Knows no variable but by the name that it is given.  Nothing that it says holds a secret
of a URL.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from opencode_exporter.errors import ConfigError

_HOST: Final = re.compile(r"\w[\w.-]*|[0-9a-f:.]*:[0-9a-f:.]*(%[\w.-]+)?", re.IGNORECASE)
_OF_GRPC: Final = {"dns", "unix", "unix-abstract", "vsock", "ipv4", "ipv6", "xds"}
"""What its targets begin with, beside http and https, which OpenTelemetry adds."""
_PLACE: Final = re.compile(r"([\"'`]*(?:\w[\w+.-]*:)?/*[^/]*)(/.*)?", re.DOTALL)
_OWN_PATH: Final = re.compile(r"(/v1/(metrics|traces))?/?$")
_LONGEST: Final = 100


def shown(url: str) -> str:
    """
    Return a URL without what may be a secret.

    That is where it leads, without credentials and query, and of its path what is OTLP's own:
    the rest of it can be a key.
    """
    plain = re.split(r"[?#]", url)[0]
    if "@" in url[len(plain) :]:
        return "(hidden)"  # what stands before the mark may be half of a password
    plain = re.sub(r"^(\w[\w+.-]*://)?.*@", r"\1", plain)
    if plain.partition(":")[0].lower() in _OF_GRPC:
        return plain  # its path is where it leads
    place, path = _PLACE.fullmatch(plain).groups("")  # type: ignore[union-attr]  # it fits all
    own = _OWN_PATH.search(path)
    kept = own[0] if own else ""
    return place + ("/..." if len(path) > len(kept) else "") + kept


def refuse(name: str, url: str, *, grpc: bool) -> None:
    """
    Refuse a URL that can be no endpoint.

    Args:
        name: The variable that says it.
        url: What it says.
        grpc: Whether it is one of gRPC, which needs no scheme and has some of its own.

    Raises:
        ConfigError: What is wrong with it.
    """
    if wrong := _wrong_sign(url) or (_wrong_target(url) if grpc else _wrong_url(url)):
        said = "" if "@" in url else f" {shown(url)[:_LONGEST]!r}"
        example = "http://localhost:4317" if grpc else "http://localhost:4318"
        raise ConfigError(f"{name}{said} {wrong}", hint=f"write for example {example}")


def _wrong_sign(url: str) -> str:
    """Return what is wrong with a sign of it, or nothing."""
    if '"' in url or url[:1] in "'`" or url[-1:] in "'`":
        return "has quotes in it"
    if re.search(r"\s", url) or not url.isprintable():
        return "has spaces or signs in it that cannot be seen"
    return ""


def _wrong_target(url: str) -> str:
    """Return what is wrong with a target of gRPC, which may be more than a URL."""
    scheme = url.partition(":")[0].lower()
    if scheme in ("http", "https") or ("://" in url and scheme not in _OF_GRPC):
        return _wrong_url(url)
    if scheme in _OF_GRPC:
        return ""
    return _wrong_place(f"//{url}")


def _wrong_url(url: str) -> str:
    scheme, mark, _ = url.partition("://")
    if not mark or not re.fullmatch(r"\w[\w+.-]*", scheme):
        return "has no scheme"
    if scheme.lower() not in ("http", "https"):
        return "has a scheme that is neither http nor https"
    return _wrong_place(url)


def _wrong_place(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "has no host"
    if not _HOST.fullmatch(host):
        return "has a host that cannot be one" if host else "has no host"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        return "has a port that cannot be one"
    return ""
