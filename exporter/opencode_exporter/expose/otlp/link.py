"""
A link: one endpoint, and an exporter of OpenTelemetry that sends to it.

That exporter retries within its timeout, and says why something did not arrive in the log
alone, in lines that may hold credentials.  A link takes these lines instead of having them
written, and returns one cause without credentials.  A test holds which of the libraries'
texts it relies on.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.secrets import cleaned
from opencode_exporter.expose.otlp.session import RedirectedError
from opencode_exporter.expose.otlp.target import Endpoint
from opencode_exporter.expose.otlp.troubles import Lasting

log = logging.getLogger(__name__)

Data = TypeVar("Data")
Data_contra = TypeVar("Data_contra", contravariant=True)

_SAYS_NOTHING: Final = "due to timeout, max retries or shutdown"
_NOBODY: Final = "it could not be reached, or did not answer, within the timeout"
_BAD_HEADER: Final = "a header has a value that cannot be sent"
_HOLDING_HEADERS: Final = ("in header value", "in header part", "metadata was invalid")
"""What the texts of requests and of gRPC have in them that go on with a header."""
_OPENTELEMETRY: Final = "opentelemetry"
_SENDERS: Final = [
    logging.getLogger(name) for name in (_OPENTELEMETRY, "grpc", "requests", "urllib3")
]
_EXPORTER_OF_GRPC: Final = "opentelemetry.exporter.otlp.proto.grpc.exporter"
_LONGEST: Final = 300


class _Lines(logging.Handler):
    """Takes the lines of all that sends, so that they do not reach the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._records: list[logging.LogRecord] = []

    def start(self) -> None:
        """Take every line from now on."""
        for logger in _SENDERS:
            logger.addHandler(self)
            logger.propagate = False
            # The log's level is no matter: causes are in these, and the others name URLs.
            logger.setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of OpenTelemetry's, if it is of the thread that sends."""
        if record.thread == self._thread and record.name.startswith(_OPENTELEMETRY):
            self._records.append(record)

    def taken(self) -> list[logging.LogRecord]:
        """Return the lines since the last call; the next ones are of the calling thread."""
        self._thread = threading.get_ident()
        records, self._records = self._records, []
        return records

    def close(self) -> None:
        """Stop taking lines; they reach the log again unless another link takes them."""
        for logger in _SENDERS:
            logger.removeHandler(self)
            if not any(isinstance(handler, _Lines) for handler in logger.handlers):
                logger.propagate = True
                logger.setLevel(logging.NOTSET)
        super().close()


class SignalExporter(Protocol[Data_contra]):
    """An exporter of OpenTelemetry, of any signal."""

    def export(self, data: Data_contra, /) -> Enum:
        """Send; the answer is SUCCESS or FAILURE."""
        ...

    def shutdown(self) -> None:
        """End a wait for the next try."""
        ...


class Link(ABC, Generic[Data]):
    """
    Sends the data of one signal to an endpoint.  One thread at a time may send.

    Once it is closed nothing is written to the log any more, neither by the exporter of
    OpenTelemetry, which may be in the middle of a send, nor by `tell`.

    Raises:
        ConfigError: A package is missing, or the environment cannot be used.
    """

    def __init__(self, target: Endpoint) -> None:
        self._target = target
        self._sending = threading.Lock()
        self._telling = threading.Lock()
        self._closed = False
        self._lines = _Lines()
        self._lines.start()
        try:
            self._exporter = self._made()
        except Exception as err:
            self._lines.close()
            if isinstance(err, ConfigError):
                raise
            raise ConfigError(
                f"OTLP cannot be set up ({self._cleaned(str(err))})",
                hint="look at the OTEL_EXPORTER_OTLP_* variables",
            ) from err
        for record in self._lines.taken():
            log.warning("OTLP setting is not used", extra={"err": self._cleaned(_text(record))})

    def _made(self) -> SignalExporter[Data]:
        if self._target.protocol == "http/protobuf":
            if self._target.certified:
                # Theirs would win over the certificate that was named for this very endpoint.
                for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
                    os.environ.pop(name, None)
            return self._over_http()
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr past any log
        try:
            from grpc import Compression  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra

            # Left to the environment it refuses "none", which is a standard value.
            made = self._over_grpc(None if self._target.compressed else Compression.NoCompression)
        except ModuleNotFoundError as err:
            raise ConfigError(
                "OTLP over gRPC needs packages that are not installed",
                hint="pip install 'opencode-exporter[grpc]', or OTEL_EXPORTER_OTLP_PROTOCOL="
                "http/protobuf",
            ) from err
        # It keeps a second failure to itself, whatever its cause: here each is heard.
        logging.getLogger(_EXPORTER_OF_GRPC).filters.clear()
        return made

    @abstractmethod
    def _over_http(self) -> SignalExporter[Data]:
        """Return the exporter for HTTP."""

    @abstractmethod
    def _over_grpc(self, compression: Any) -> SignalExporter[Data]:
        """Return the exporter for gRPC; ``compression``: None for what the environment says."""

    def send(self, data: Data) -> str:
        """Send data; return an empty text, or why they did not arrive."""
        try:
            with self._sending:
                return _NOBODY if self._closed else self._sent(data)
        finally:
            if self._closed:
                self._lines.close()

    def _sent(self, data: Data) -> str:
        self._lines.taken()
        try:
            result = self._exporter.export(data)
        except Exception as err:  # noqa: BLE001  # whatever it is, it must not end the sending
            return self._told_by(err) or self._cleaned(_root(err))
        if result.name == "SUCCESS":
            return ""
        records = self._lines.taken()
        redirected = (self._told_by(*record.args) for record in records if record.args)
        return next(filter(None, redirected), "") or self._cleaned(_cause(records))

    def _told_by(self, *values: object) -> str:
        """Return the first lasting cause among some values, or nothing."""
        lasting = (value for value in values if isinstance(value, RedirectedError))
        return next((Lasting(self._cleaned(str(value))) for value in lasting), "")

    def tell(self, line: Callable[[], None]) -> None:
        """Write a line to the log, unless the link is closed."""
        with self._telling:
            if not self._closed:
                line()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is sent any more."""
        return self._closed

    def close(self) -> None:
        """End a send that waits for its next try, from any thread; then nothing is sent."""
        with self._telling:
            if self._closed:
                return
            self._closed = True
        self._exporter.shutdown()
        # A send that goes on has something to say yet: it is heard until its end.
        if self._sending.acquire(blocking=False):
            self._lines.close()
            self._sending.release()

    def _cleaned(self, text: str) -> str:
        """Return the first line of a text, without secrets of the URL and of the headers."""
        line = text.replace(self._target.url, self._target.shown).partition("\n")[0]
        line = cleaned(line, self._target.hidden)
        line = re.sub(r"[^\s/'\"(]*@", "", line)
        return re.sub(r"\?[^\s'\"]*", "", line)[:_LONGEST]


def _cause(records: list[logging.LogRecord]) -> str:
    """Return the cause in the lines of a failed export: the last line that names one."""
    texts = [_text(record) for record in records]
    return next((text for text in reversed(texts) if _SAYS_NOTHING not in text), _NOBODY)


def _text(record: logging.LogRecord) -> str:
    if record.name == "opentelemetry.util.re":
        return "a header is not of the form name=value"  # the line holds it, and maybe a key
    for value in record.args if isinstance(record.args, tuple) else ():
        if isinstance(value, BaseException):
            return _root(value)
    return re.sub(r", retrying in [\d.]+s", "", record.getMessage())


def _root(err: BaseException) -> str:
    """Return the text of the first error in a chain: later ones name objects and URLs."""
    while (before := err.__cause__ or err.__context__) is not None:
        err = before
    if isinstance(err, UnicodeEncodeError):  # its text has a sign of the header
        return _BAD_HEADER
    text = str(err) or type(err).__name__
    return next((_BAD_HEADER for said in _HOLDING_HEADERS if said in text), text)
