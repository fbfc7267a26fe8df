"""
Basic authentication against bcrypt hashes.

Nobody who guesses keeps out somebody who knows: a password that was right once is known at
a glance, and of those that have to be compared, one at a time, no address gets more turns
than another.  A user that does not exist costs as much time as a wrong password, and the
expensive comparison never runs on the event loop.
Nothing here knows where the hashes come from.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import ipaddress
import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import bcrypt

_WRONG: Final = 100  # how many wrong passwords are remembered
_REFUSAL_S: Final = 1.0
_LONGEST_REFUSAL_S: Final = 60.0
_FREE: Final = 2  # guesses a minute that cost no more than one each
_MINUTE_S: Final = 60.0
_CLIENTS: Final = 1000
_MOST_WAITING: Final = 512
_KEPT: Final = 1000  # clients
_LONGEST: Final = 72  # bytes that bcrypt reads; hashes made by other tools were cut there silently


class Refusal(NamedTuple):
    """The refusal of a request: after some seconds, since guessing has to cost time."""

    seconds: float = 0.0
    is_compared: bool = True  # False: there was no time to compare the password


class BasicAuth:
    """Checks an Authorization header and remembers the verdict, never the password."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._right: dict[tuple[bytes, bytes], bytes] = {}  # by user and hash
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        # One comparison at a time: a flood of wrong passwords takes one core at most.
        self._lock = FairLock()
        self._guesses = _Guesses()

    async def refusal(self, users: Mapping[str, str], header: str, address: str) -> Refusal | None:
        """
        Return None if the header names a user with the right password, else how to refuse.

        Args:
            users: bcrypt hash of each user; not empty.
            header: The value of Authorization, empty when there was none.
            address: Where it comes from.
        """
        credentials = _credentials(header)
        if credentials is None:
            return Refusal()
        loop = asyncio.get_running_loop()
        began, client, is_compared = loop.time(), _client(address), True
        try:
            if await self._is_right(users, *credentials, client):
                return None
        except BusyError:
            is_compared = False
        now = loop.time()
        return Refusal(self._guesses.note(client, now) - (now - began), is_compared)

    async def _is_right(
        self, users: Mapping[str, str], name: bytes, password: bytes, client: str
    ) -> bool:
        known = users.get(name.decode("utf-8", "surrogateescape"))
        # An unknown user is compared too, against the dearest hash of all.
        hashed = (known or max(users.values(), key=_cost)).encode("ascii")
        key = self._key(name, hashed, password)
        verdict = self._verdict(name, hashed, key)
        if verdict is not None:
            return verdict
        async with self._lock.hold(client, is_last=known is None):
            # Another request may have come first with the same password, or the right one.
            verdict = self._verdict(name, hashed, key)
            if verdict is None:
                matches = await _compared(password, hashed)
                verdict = matches and known is not None
                self._remember(users, name, hashed, key, verdict=verdict)
        return verdict

    def _verdict(self, name: bytes, hashed: bytes, key: bytes) -> bool | None:
        """Return a known verdict; where the right password is known, all others are wrong."""
        right = self._right.get((name, hashed))
        if right is not None:
            return secrets.compare_digest(right, key)
        if key in self._wrong:
            self._wrong.move_to_end(key)
            return False
        return None

    def _remember(
        self, users: Mapping[str, str], name: bytes, hashed: bytes, key: bytes, *, verdict: bool
    ) -> None:
        if verdict:
            current = {hashed.encode("ascii") for hashed in users.values()}
            kept = {pair: right for pair, right in self._right.items() if pair[1] in current}
            self._right = {**kept, (name, hashed): key}
            return
        self._wrong[key] = None
        if len(self._wrong) > _WRONG:
            self._wrong.popitem(last=False)

    def _key(self, name: bytes, hashed: bytes, password: bytes) -> bytes:
        # Each length is written before its part: no two triples share a text.
        parts = (name, hashed, password[:_LONGEST])
        text = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()


class _Guesses:
    """How many wrong passwords clients gave in about the last minute."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, and when

    def note(self, client: str, now: float) -> float:
        """Count a wrong password; return how many seconds its refusal takes."""
        before, at = self._known.pop(client, (0.0, now))
        count = before * math.exp((at - now) / _MINUTE_S) + 1
        self._known[client] = count, now
        if len(self._known) > _CLIENTS:
            self._known.popitem(last=False)
        return min(max(_REFUSAL_S, _REFUSAL_S * count / _FREE), _LONGEST_REFUSAL_S)


def _client(address: str) -> str:
    """Return the client of an address: in IPv6 one client has 2 to the 64 of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:  # by a socket for both families
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), 64), strict=False))


def _credentials(header: str) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def _cost(hashed: str) -> str:
    return hashed[4:6]


async def _compared(password: bytes, hashed: bytes) -> bool:
    """Compare in a thread that nobody waits for at the end, however dear the hash is."""
    answer: Future[bool] = Future()
    answer.set_running_or_notify_cancel()  # it goes on to its end, whoever gives up on it

    def compare() -> None:
        try:
            answer.set_result(_matches(password, hashed))
        except Exception as err:  # noqa: BLE001  # whoever waits is told, and lets others come
            answer.set_exception(err)

    threading.Thread(target=compare, name="password", daemon=True).start()
    return await asyncio.wrap_future(answer)


def _matches(password: bytes, hashed: bytes) -> bool:
    return bcrypt.checkpw(password[:_LONGEST], hashed)


class BusyError(Exception):
    """Too many others came while a request waited for the lock."""


@dataclass(eq=False)
class _Waiting:
    """A request that waits; ``turn`` is True when it has the lock, False when it will not."""

    client: str
    is_last: bool
    turn: asyncio.Future[bool] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class FairLock:
    """
    A lock for one request at a time; a crowd of one client's requests waits behind the others.

    Of those that wait, the client is next that had the lock longest ago, and of a client
    the request that came last: those before it may have been given up, and a client that
    asks once is not behind a hundred requests of another.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: list[_Waiting] = []  # in the order in which they came
        self._had: OrderedDict[str, int] = OrderedDict()  # by client: the number of its last turn
        self._number = 0

    @contextlib.asynccontextmanager
    async def hold(self, client: str, *, is_last: bool = False) -> AsyncIterator[None]:
        """
        Wait for the lock, and hold it.

        Args:
            client: The client of the request.
            is_last: Whether all others go first.

        Raises:
            BusyError: Too many others have come since.
        """
        if self._is_taken and not await self._has_come(_Waiting(client, is_last)):
            raise BusyError
        self._is_taken = True
        self._number += 1
        self._had[client] = self._number
        self._had.move_to_end(client)
        if len(self._had) > _KEPT:
            self._had.popitem(last=False)
        try:
            yield
        finally:
            self._pass_on()

    async def _has_come(self, one: _Waiting) -> bool:
        self._waiting.append(one)
        if len(self._waiting) > _MOST_WAITING:
            self._take_out(max(self._waiting, key=self._rank), is_next=False)
        try:
            return await one.turn
        except asyncio.CancelledError:
            if one in self._waiting:
                self._waiting.remove(one)
            elif one.turn.done() and not one.turn.cancelled() and one.turn.result():
                self._pass_on()  # it was given a turn that it cannot take
            raise

    def _pass_on(self) -> None:
        # The turn stays taken meanwhile, so that nobody gets in between.
        self._is_taken = False
        while self._waiting and not self._is_taken:
            following = min(reversed(self._waiting), key=self._rank)
            self._is_taken = self._take_out(following, is_next=True)

    def _take_out(self, one: _Waiting, *, is_next: bool) -> bool:
        """End the wait of a request; return False if it has been given up."""
        self._waiting.remove(one)
        if one.turn.done():
            return False
        one.turn.set_result(is_next)
        return True

    def _rank(self, one: _Waiting) -> tuple[bool, int]:
        return one.is_last, self._had.get(one.client, 0)
