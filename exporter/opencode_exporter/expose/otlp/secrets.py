"""
Secrets: words of the environment that no log may hold, and what is written instead.

Values of headers, credentials of URLs and proxies, paths and queries are hidden; the path of
a file is its variable's name, which says as well what to look at.
Knows the environment only through the mapping that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

_HIDDEN: Final = "(hidden)"
_LEAST: Final = 4  # signs: what is shorter stands in other words, too
_FILES: Final = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
_OTHER_FILES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_OF_OTLP: Final = {"v1", "metrics", "traces"}


def hidden(environ: Mapping[str, str], signal: str, url: str) -> dict[str, str]:
    """
    Return the words to hide, the longest first, each with what is written instead.

    Args:
        environ: The environment.
        signal: Of which signal its variables are read: metrics or traces.
        url: The endpoint.
    """
    prefixes = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_", "OTEL_EXPORTER_OTLP_")
    files = [f"{prefix}{name}" for prefix in prefixes for name in _FILES]
    words = {environ.get(name, "").strip(): f"${name}" for name in (*files, *_OTHER_FILES)}
    for found in (
        *(_of_headers(environ.get(f"{prefix}HEADERS", "")) for prefix in prefixes),
        *(_of_user(said) for name, said in environ.items() if name.lower().endswith("_proxy")),
        _of_url(url),
    ):
        words |= dict.fromkeys(found, _HIDDEN)
    # Libraries write a value as it would stand in a program.
    words |= {repr(word)[1:-1]: shown for word, shown in words.items()}
    long_enough = (word for word in words if len(word) >= _LEAST)
    return {word: words[word] for word in sorted(long_enough, key=len, reverse=True)}


def cleaned(text: str, words: Mapping[str, str]) -> str:
    """Return a text with its secret words replaced."""
    if not words:
        return text
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def _of_headers(headers: str) -> Iterator[str]:
    for pair in headers.split(","):
        name, mark, value = pair.partition("=")
        for said in (value, unquote(value)) if mark else (name,):
            yield from re.split(r"(?:%20|\s)+", said)


def _of_user(url: str) -> Iterator[str]:
    """Yield name and password of a URL, as they are written and as they are meant."""
    user = re.sub(r"^\w[\w+.-]*://", "", url).rpartition("@")[0]
    # A library may see another end of it than we do.
    for word in (user, *user.split(":", 1), *re.split(r"[:/?#@]", user)):
        yield from (word, unquote(word))


def _of_url(url: str) -> Iterator[str]:
    yield from _of_user(url)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return
    segments = [word for word in parts.path.split("/") if word not in _OF_OTLP]
    path = parts.path.strip("/") if any(segments) else ""
    values = [pair.rpartition("=")[2] for pair in (*parts.query.split("&"), parts.fragment)]
    for word in (path, *segments, parts.query, *values):
        if word not in host:
            yield from (word, unquote(word))
