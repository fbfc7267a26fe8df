"""
Condense: JSON of any size, brought down to what a decoder asks for.

Reads a window at a time and keeps the members that are wanted; of long texts their
beginning and their end, and where it is asked for how many bytes lie between.  So a
row of hundreds of megabytes takes no more memory than any other.  Knows no meaning of
fields, and checks of what it passes over only where it ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from opencode_exporter.decode.values import Unusable, loads

LEFT_OUT: Final = " left out"
"""Ends the name of the member that says how many bytes are missing from a text."""
MOST: Final = 3_000_000
"""Bytes of what is kept of one value; more are refused."""
_MOST_OF_A_LEAF: Final = 1 << 16
_WINDOW: Final = 1 << 18
_NAME: Final = 256  # no member that is wanted has a longer name
_SCALAR: Final = 1 << 16
_DEEPEST: Final = 1000  # decoders refuse it, too
_KEPT_DEEPEST: Final = 256

Read = Callable[[int], bytes]
"""Returns as many bytes that follow, or what is left of them."""


class Leaf(NamedTuple):
    """A value that is kept; longer texts lose their middle, objects and arrays their content."""

    bytes: int = 4096  # of each half of a text that stays
    counted: bool = False  # whether to say how many bytes have gone
    nested: bool = False  # whether objects and arrays are kept as they are


Shape = Leaf | Mapping[str, "Shape"]
"""What is wanted of a value: all, or some members; of an array's items the same."""

_BLANKS: Final = re.compile(rb"[ \t\n\r]*+")
_BARE: Final = re.compile(rb'[^ \t\n\r,:"\[\]{}]*+')
# Whole escapes, a surrogate pair being one: a text may be cut after any match.
_UNITS: Final = re.compile(
    rb'(?:[^"\\]++|\\[^u]'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u(?![dD][89abAB])[0-9a-fA-F]{4}"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?=[^\\]|\\[^u]|\\u[^dD]|\\u[dD][^c-fC-F]))*+"
)
_UNREAD: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_LOOK_BACK: Final = 64
_BACKSLASH: Final = 0x5C
_QUOTE: Final = 0x22
_STRING: Final = rb'"[^"\\]{0,128}+"'  # of longer ones the end is found faster by `find`


def _whole(levels: int) -> bytes:
    """Return what matches all up to a bracket, over arrays and objects of so many levels."""
    within = rb"|\{%b\}|\[%b\]" % ((_whole(levels - 1),) * 2) if levels else b""
    return rb'(?:[^"\[\]{}]++|%b%b)*+' % (_STRING, within)


_SHALLOW: Final = re.compile(_whole(3), re.DOTALL)
_UNICODE: Final = re.compile(rb"\\u([dD][89abAB]..\\u[dD][c-fC-F]..|....)")


def condense(read: Read, shape: Shape) -> bytes:
    """
    Return the JSON that is left of what is read.

    Args:
        read: Where it comes from, from its beginning.
        shape: What is wanted of it.

    Raises:
        Unusable: It is no JSON, or what is wanted of it is too much.
    """
    work = _Condenser(read)
    work.value(shape, 0)
    if work.peek():
        raise Unusable("json")
    return bytes(work.kept)


class _Condenser:
    def __init__(self, read: Read) -> None:
        self._read = read
        self._data = b""
        self._at = 0
        self.kept = bytearray()
        self._most = MOST

    def _more(self) -> None:
        """Get what follows; what has been passed is forgotten."""
        data = self._read(_WINDOW)
        if not data:
            raise Unusable("json")
        self._data = self._data[self._at :] + data
        self._at = 0

    def peek(self) -> bytes:
        """Return the next byte that is not blank, nothing at the end."""
        while True:
            match = _BLANKS.match(self._data, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            try:
                self._more()
            except Unusable:
                return b""

    def _next(self) -> bytes:
        found = self.peek()
        self._at += 1
        return found

    def _keep(self, data: bytes) -> None:
        if len(self.kept) + len(data) > self._most:
            raise Unusable("size")
        self.kept += data

    def _pass(self, pattern: re.Pattern[bytes]) -> bytes:
        match = pattern.match(self._data, self._at)
        found = match.group() if match else b""
        self._at += len(found)
        return found

    def value(self, shape: Shape, depth: int) -> int:
        """Keep what is wanted of a value, and return how many bytes of a text are missing."""
        first = self.peek()
        if first == b'"':
            return self._text(shape if isinstance(shape, Leaf) else Leaf())
        if first and first in b"{[":
            self._nested(first, shape, depth)
        else:
            self._keep(self._bare())
        return 0

    def _nested(self, first: bytes, shape: Shape, depth: int) -> None:
        if depth > _KEPT_DEEPEST:
            raise Unusable("json")
        most = self._most
        if isinstance(shape, Leaf):
            if not shape.nested:
                self._skip_nested()
                self._keep(b"{}")
                return
            self._most = min(most, len(self.kept) + _MOST_OF_A_LEAF)
        if first == b"{":
            self._object(shape, depth)
        else:
            self._array(shape, depth)
        self._most = most

    def _object(self, shape: Shape, depth: int) -> None:
        self._keep(self._next())
        separator = b""
        while True:
            if self.peek() == b"}":
                break
            name = self._name()
            if self._next() != b":":
                raise Unusable("json")
            wanted = shape if isinstance(shape, Leaf) else shape.get(name)
            if wanted is None:
                self._skip()
            else:
                self._keep(b"%b%b:" % (separator, json.dumps(name).encode()))
                missing = self.value(wanted, depth + 1)
                if missing:
                    self._keep(b",%b:%d" % (json.dumps(name + LEFT_OUT).encode(), missing))
                separator = b","
            if self.peek() == b",":
                self._next()
            elif self.peek() != b"}":
                raise Unusable("json")
        self._keep(self._next())

    def _array(self, shape: Shape, depth: int) -> None:
        self._keep(self._next())
        while self.peek() != b"]":
            self.value(shape, depth + 1)
            if self.peek() == b",":
                self._keep(self._next())
            elif self.peek() != b"]":
                raise Unusable("json")
        self._keep(self._next())

    def _bare(self) -> bytes:
        """Return a number or a word."""
        found = b""
        while True:
            found += self._pass(_BARE)
            if len(found) > _SCALAR:
                raise Unusable("json")
            if self._at < len(self._data):
                break
            try:
                self._more()
            except Unusable:
                break
        if not found:
            raise Unusable("json")
        return found

    def _name(self) -> str:
        if self._next() != b'"':
            raise Unusable("json")
        head, _, tail, missing = self._pieces(Leaf(_NAME))
        return str(loads(b'"%b%b"' % (head, tail))) if not missing else ""

    def _text(self, leaf: Leaf) -> int:
        self._at += 1
        head, between, tail, missing = self._pieces(leaf)
        self._keep(b'"%b%b%b"' % (head, between, tail))
        return missing if leaf.counted else 0

    def _pieces(self, leaf: Leaf) -> tuple[bytes, bytes, bytes, int]:
        """Return beginning and end of a text, what stands between, and its missing bytes."""
        head, tail, missing, is_end = b"", b"", 0, False
        while not is_end:
            piece, is_end = self._piece()
            tail += piece
            if not head and len(tail) > 2 * leaf.bytes:
                cut = _boundary(tail, leaf.bytes)
                head, tail = tail[:cut], tail[cut:]
            if head and len(tail) > leaf.bytes:
                cut = _boundary(tail, len(tail) - leaf.bytes)
                missing += _decoded_bytes(tail[:cut]) if leaf.counted else cut
                tail = tail[cut:]
        return head, b"\\u2026" if missing and not leaf.counted else b"", tail, missing

    def _piece(self) -> tuple[bytes, bool]:
        """Return as much of a text as is here, up to where it can be cut, and if that is all."""
        start, end = self._at, self._quote()
        if end >= 0:
            self._at = end + 1
            return self._data[start:end], True
        self._at = max(start, _boundary(self._data, len(self._data)))
        piece = self._data[start : self._at]
        self._more()
        return piece, False

    def _quote(self) -> int:
        """Return where a text ends, -1 where that is further on."""
        data, start = self._data, self._at
        end = data.find(b'"', start)
        if end > start and data[end - 1] == _BACKSLASH:  # it may belong to the text
            match = _UNREAD.match(data, start)
            end = match.end() if match else -1
            return end if data[end : end + 1] == b'"' else -1
        return end

    def _skip(self) -> None:
        """Pass over a value."""
        first = self.peek()
        if first == b'"':
            self._skip_text()
        elif first and first in b"{[":
            self._skip_nested()
        else:
            self._bare()

    def _skip_text(self) -> None:
        self._at += 1
        is_end = False
        while not is_end:
            _, is_end = self._piece()

    def _skip_nested(self) -> None:
        depth = 0
        while True:
            match = _SHALLOW.match(self._data, self._at) if depth else None
            self._at = match.end() if match else self._at
            if self._at == len(self._data):
                self._more()
                continue
            found = self._data[self._at]
            if found == _QUOTE:
                self._skip_text()
                continue
            self._at += 1
            depth += 1 if found in b"{[" else -1
            if not depth:
                return
            if depth > _DEEPEST:
                raise Unusable("json")


def _boundary(text: bytes, near: int) -> int:
    """Return the last place up to one at which a text of JSON can be cut."""
    start = max(0, near - _LOOK_BACK)
    escape = start
    while escape > 0 and text[escape - 1] == _BACKSLASH:
        escape -= 1
    start += (start - escape) % 2
    match = _UNITS.match(text, start, near)
    at = match.end() if match else near
    while at < len(text) and text[at] & 0xC0 == 0x80:  # within a character
        at -= 1
    return at


def _decoded_bytes(text: bytes) -> int:
    """Return the UTF-8 size of what a text of JSON stands for, as `text_bytes` counts it."""
    if b"\\" not in text:
        return len(text)
    rest = text.replace(rb"\\", b"-")
    size = len(rest) - rest.count(b"\\")
    if b"\\u" in rest:
        for found in _UNICODE.findall(rest):
            size -= _too_many(found)
    return size


def _too_many(escape: bytes) -> int:
    """Return the bytes that an escape, without its backslashes, has more than its character."""
    if len(escape) > 4:
        return 6
    try:
        code = int(escape, 16)
    except ValueError as err:
        raise Unusable("json") from err
    return 4 if code < 0x80 else 3 if code < 0x800 else 2
