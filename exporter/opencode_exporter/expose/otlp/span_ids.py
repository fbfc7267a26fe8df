"""
Ids of traces and spans: keyed hashes, so that the same is always the same.

A session and all its sub-agents are one trace.  Without the key, which is the salt of
the ledger, nobody can tell whether an id is that of a session he knows.
"""

from __future__ import annotations

import hashlib

from opencode_exporter.events import Invocation


def trace_id(salt: str, event: Invocation) -> int:
    """Return 128 bits that stand for the topmost session of an invocation."""
    return _hashed(salt, f"t {event.root or event.session}", 16)


def call_id(salt: str, event: Invocation) -> int:
    """Return 64 bits that stand for an invocation."""
    return _hashed(salt, f"i {event.message} {event.call} {event.part}", 8)


def starter_id(salt: str, session: str) -> int:
    """Return 64 bits that stand for the invocation that started a sub-agent's session."""
    return _hashed(salt, f"s {session}", 8)


def _hashed(salt: str, text: str, size: int) -> int:
    data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=size, key=salt.encode()).digest()
    return int.from_bytes(digest) or 1  # 0 is no id
