"""
The web configuration file: TLS, passwords, headers and rate of the HTTP server.

The format is the exporter-toolkit's, read strictly.  A configuration is good as
a whole or not taken at all: a broken file never replaces a working one.
Nothing here answers a request.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from opencode_exporter.errors import ConfigError
from opencode_exporter.web.settings_file import (
    Count,
    Place,
    Seconds,
    Section,
    Switch,
    read_settings,
)
from opencode_exporter.web.tls import TlsSection, TlsSettings, read_tls

log = logging.getLogger(__name__)

# The headers that the format allows, with the values it allows.
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}

# Of the last sign of its salt two bits count; bcrypt refuses others in it, at each comparison.
_BCRYPT = re.compile(
    r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
)

_CHECK_EVERY_S = 1.0

_Signature = tuple[tuple[int, int, int] | None, ...]


class _HttpSection(Section, frozen=True):
    """The section `http_server_config`."""

    http2: Switch = Switch(False)
    headers: Mapping[str, Any] = {}


class _RateSection(Section, frozen=True):
    """The section `rate_limit`."""

    interval: Seconds = Seconds(0)
    burst: Count = Count(0)


class _File(Section, frozen=True):
    """The whole file.  Names of users and headers are keys, so their values are checked here."""

    tls_server_config: TlsSection | None = None
    http_server_config: _HttpSection = _HttpSection()
    basic_auth_users: Mapping[str, Any] = {}
    rate_limit: _RateSection = _RateSection()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: one request per interval, and a burst of saved ones."""

    interval_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """
    One reading of the file.

    Attributes:
        headers: Added to every response; an empty value takes a default away.
        users: bcrypt hash of each user; empty means that nobody needs a password.
        notes: Settings without their full effect, each with a sentence.
        files: Everything that was read, to notice a change.
    """

    tls: TlsSettings | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate_limit: RateLimit | None = None
    notes: tuple[tuple[str, str], ...] = ()
    files: tuple[Path, ...] = ()

    @classmethod
    def load(cls, path: Path) -> WebConfig:
        """
        Read and check the file and the files it names.

        Raises:
            ConfigError: Naming the file and the setting that cannot be used.
        """
        settings = read_settings(path, _File)
        section, http = settings.tls_server_config, settings.http_server_config
        tls = read_tls(section, Place(path, "tls_server_config")) if section else None
        notes = tls.notes if tls else ()
        if http.http2:
            notes += (("http_server_config.http2", "HTTP/1.1 is spoken, to every client"),)
        return cls(
            tls=tls,
            headers=_headers(http.headers, Place(path, "http_server_config.headers")),
            users=_users(settings.basic_auth_users, Place(path, "basic_auth_users")),
            rate_limit=_rate_limit(settings.rate_limit, Place(path, "rate_limit")),
            notes=notes,
            files=(path, *(tls.files if tls else ())),
        )


def _headers(values: Mapping[str, Any], place: Place) -> Mapping[str, str]:
    for name, value in values.items():
        allowed = _HEADERS.get(name)
        if allowed is None:
            place.fail(name, "unknown setting", hint=f"known here: {', '.join(sorted(_HEADERS))}")
        if not isinstance(value, str) or re.fullmatch(r"[\x20-\x7e]*", value) is None:
            place.fail(name, "must be one line of ASCII text")
        if value and allowed and value not in allowed:
            place.fail(name, f"must be {' or '.join(allowed)}")
    return MappingProxyType(dict(values))


def _users(values: Mapping[str, Any], place: Place) -> Mapping[str, str]:
    for name, hashed in values.items():
        if ":" in name:
            place.fail(name, "a user name cannot hold a colon")
        if not isinstance(hashed, str) or _BCRYPT.fullmatch(hashed) is None:
            place.fail(
                name,
                "the password is not a bcrypt hash",
                hint="make one with: htpasswd -nBC 10 '' | tr -d ':\\n'",
            )
    return MappingProxyType(dict(values))


def _rate_limit(section: _RateSection, place: Place) -> RateLimit | None:
    if not section.interval:
        return None
    if section.burst < 1:
        place.fail("burst", "must be at least 1, or every request is refused")
    return RateLimit(section.interval, section.burst)


class WebConfigHolder:
    """
    The current configuration, shared by all connections.

    Without a file it is the default one for ever.  `current` notices changed
    files by itself, looking at most once a second.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._checked = clock()
        self._config = WebConfig()
        self._signature: _Signature = ()
        if path is not None:
            self._config = WebConfig.load(path)
            self._signature = _sign(self._config.files)
            _log_notes(self._config)

    def current(self) -> WebConfig:
        """Return the current configuration; a broken change is logged, and the old one stays."""
        now = self._clock()
        if self._path is not None and now - self._checked >= _CHECK_EVERY_S:
            self._checked = now
            if _sign(self._config.files) != self._signature:
                try:
                    self.reload()
                except ConfigError as error:
                    log.error(  # noqa: TRY400 - the sentence says it, a traceback does not help
                        "changed web configuration cannot be used, the old one stays",
                        extra={"err": error.message, "hint": error.hint},
                    )
        return self._config

    def reload(self) -> None:
        """
        Read the file again and use it from the next request and connection on.

        Raises:
            ConfigError: The new configuration cannot be used; the old one stays.
        """
        if self._path is None:
            return
        with self._lock:
            # Signed before reading, so that a change during it is seen; kept
            # when reading fails, so that one broken state is told once.
            self._signature = _sign(self._config.files)
            fresh = WebConfig.load(self._path)
            if (fresh.tls is None) != (self._config.tls is None):
                raise ConfigError(
                    f"{self._path}: tls_server_config: TLS cannot come or go while running",
                    hint="restart the exporter",
                )
            if fresh.files != self._config.files:
                self._signature = _sign(fresh.files)
            told = self._config.notes
            self._config = fresh
        if fresh.notes != told:
            _log_notes(fresh)
        log.info("web configuration read again")


def _sign(files: tuple[Path, ...]) -> _Signature:
    signature: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            signature.append(None)
        else:
            signature.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(signature)


def _log_notes(config: WebConfig) -> None:
    for setting, why in config.notes:
        log.warning("web setting without full effect", extra={"setting": setting, "why": why})
