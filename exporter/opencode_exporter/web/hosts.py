"""
The names under which the server answers.

A web page can have a name of its own lead to this machine (DNS rebinding): the browser then
hands it the answers meant for this machine alone.  Names that cannot be rebound are allowed:
addresses, names that stay on this machine, and those that the user named.
Nothing here knows which page is asked for.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

from opencode_exporter.errors import ConfigError

_OWN = ("localhost", "*.localhost", "host.docker.internal", "host.containers.internal")
_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?")


class Hosts:
    """
    The allowed names, and the sockets on which they are checked.

    They are checked on sockets of the loopback, which are for this machine alone, and
    everywhere if the user named some.

    Args:
        named: Names that the user allows: ``*.`` before one is everything below it,
            ``*`` alone is any.

    Raises:
        ConfigError: One of them is no name.
    """

    def __init__(self, named: Sequence[str] = ()) -> None:
        for name in named:
            _check(name)
        self._named = bool(named)
        self._names = {*_OWN, socket.gethostname().lower(), *(name.lower() for name in named)}
        self._watched: set[tuple[str, int]] = set()

    def watch(self, sockets: Iterable[socket.socket]) -> None:
        """Check names on those of the sockets that are of the loopback."""
        places = (sock.getsockname()[:2] for sock in sockets)
        self._watched = {(host, port) for host, port in places if _is_loopback(host)}

    def refuses(self, header: str, server: tuple[str, int | None] | None) -> bool:
        """
        Return whether a request is for a name that is not allowed.

        Args:
            header: Its Host; empty where there was none, which no browser leaves out.
            server: The address of the socket that it came in by.
        """
        if not header or not (self._named or server in self._watched):
            return False
        host = name_of(header)
        return not (_is_address(host) or self._is_ours(host))

    def _is_ours(self, host: str) -> bool:
        labels = host.split(".")
        above = {"*." + ".".join(labels[start:]) for start in range(1, len(labels))}
        return not self._names.isdisjoint({host, *above, "*"})


def name_of(header: str) -> str:
    """Return the name or address in a Host header, in small letters; empty if it has none."""
    found = _HOST.fullmatch(header)
    # A dot behind a name says that it is complete.
    return found[1].lower().strip("[]").removesuffix(".") if found else ""


def _check(name: str) -> None:
    if not _NAME.fullmatch(name.lower()) and not _is_address(name):
        raise ConfigError(
            f"allowed host {name!r} is not a name",
            hint="write it without scheme, port and path, for example metrics.example.com; "
            "*.example.com is every name below it, * any name at all",
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
