"""
Basic authentication against bcrypt hashes.

A user that does not exist costs as much time as a wrong password, and the
expensive comparison never runs on the event loop.
Nothing here knows where the hashes come from.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping

import bcrypt

_CACHE_SIZE = 100


class BasicAuth:
    """Checks an Authorization header and remembers the verdict, never the password."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._verdicts: OrderedDict[bytes, bool] = OrderedDict()
        # One comparison at a time: a flood of wrong passwords takes one core at most.
        self._turn = asyncio.Lock()

    async def allows(self, users: Mapping[str, str], header: str) -> bool:
        """
        Tell whether the header names a user with the right password.

        Args:
            users: bcrypt hash of each user; not empty.
            header: The value of Authorization, empty when there was none.
        """
        credentials = _credentials(header)
        if credentials is None:
            return False
        name, password = credentials
        known = users.get(name.decode("utf-8", "surrogateescape"))
        # An unknown user is compared too, against the dearest hash of all.
        hashed = (known or max(users.values(), key=_cost)).encode("ascii")
        key = self._key(name, hashed, password)
        if key not in self._verdicts:
            async with self._turn:
                # Another request with the same password may have come first.
                if key not in self._verdicts:
                    matches = await asyncio.to_thread(_matches, password, hashed)
                    self._remember(key, verdict=matches and known is not None)
        self._verdicts.move_to_end(key)
        return self._verdicts[key]

    def _remember(self, key: bytes, *, verdict: bool) -> None:
        self._verdicts[key] = verdict
        if len(self._verdicts) > _CACHE_SIZE:
            self._verdicts.popitem(last=False)

    def _key(self, *parts: bytes) -> bytes:
        # Each length is written before its part: no two triples share a text.
        text = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()


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


def _matches(password: bytes, hashed: bytes) -> bool:
    # bcrypt reads 72 bytes; hashes made by other tools were cut there silently.
    return bcrypt.checkpw(password[:72], hashed)
