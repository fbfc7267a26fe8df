"""
Listen addresses in the grammar of the Go exporters, and sockets bound to them.

A socket returned from here listens already: a port in use is an error at the start,
before anything else is done.
Nothing here accepts a connection.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from opencode_exporter.errors import ConfigError

_HINT = "':10777' listens on every interface, '127.0.0.1:10777' or '[::1]:10777' on one"

_BACKLOG = 4096  # the system knows fewer, where it has to


def parse_listen_address(text: str) -> tuple[str, int]:
    """
    Split `host:port`, `:port` or `[ipv6]:port`; an empty host is every interface.

    Raises:
        ConfigError: It is none of these.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        is_bare = text.count(":") > 1 and "[" not in text
        fact = "an IPv6 host without brackets" if is_bare else "no host, or no port up to 65535"
        raise ConfigError(f"listen address {text!r} has {fact}", hint=_HINT) from error
    if port is None:
        raise ConfigError(f"listen address {text!r} has no port", hint=_HINT)
    # Of an URL there may be more, some of which urlsplit leaves out in silence.
    whole = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if whole.lower() != text.lower() or any(map(str.isspace, text)):
        raise ConfigError(f"listen address {text!r} is not a host and a port", hint=_HINT)
    return host, port


def bind_all(addresses: Sequence[str]) -> list[socket.socket]:
    """
    Open a listening socket for each address, all of them or none.

    Raises:
        ConfigError: An address is malformed, unknown here, or in use.
    """
    if not addresses:
        raise ConfigError("no listen address is given", hint=_HINT)
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(_bind(address)) for address in addresses]
        opened.pop_all()
    return sockets


def url_of(sock: socket.socket, scheme: str) -> str:
    """Return the URL of a socket, with the port that it really has."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind(address: str) -> socket.socket:
    host, port = parse_listen_address(address)
    try:
        if host in {"", "::"} and _has_ipv6():
            return _listen(socket.AF_INET6, ("::", port), dual=True)
        family, target = _resolve(host or "0.0.0.0", port)  # noqa: S104 - asked for by ':port'
        return _listen(family, target)
    except OSError as error:
        raise _explain(address, error) from error


def _has_ipv6() -> bool:
    # Compiled in is not switched on: only a bind tells.
    if not socket.has_dualstack_ipv6():
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # One address of a name with several, IPv4 first: what Go's Listen does.
    family, _, _, _, target = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, target


def _listen(
    family: socket.AddressFamily, target: tuple[Any, ...], *, dual: bool = False
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart need not wait for connections of the process before it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(target)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(address: str, error: OSError) -> ConfigError:
    if isinstance(error, socket.gaierror):
        return ConfigError(f"listen address {address!r} has an unknown host", hint=_HINT)
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"listen address {address!r} is in use",
            hint="another exporter may be running; choose another --web.listen-address",
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            f"listen address {address!r} is not permitted", hint="choose a port above 1023"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"listen address {address!r} is no address of this machine", hint=_HINT)
    return ConfigError(f"listen address {address!r} cannot be used: {error.strerror}", hint=_HINT)
