"""
The cache: conversations at hand, of all that the ledger keeps.

Those with a row that is not over are always in it, with the ids of these rows; so are
the times at which sessions were last active.  Changes no conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

from opencode_exporter.counting import keys
from opencode_exporter.counting.turns.state import Conversation
from opencode_exporter.events import Remark, Step

ACTIVE_MS: Final = 5 * 60_000
"""How long after a change a session is active."""
NEVER: Final = 1 << 62
"""When a conversation is due in which nothing has to be decided."""
_CACHED: Final = 512
_SOME: Final = 500

Due = tuple[int, int]
"""When a conversation is due, ms, and its key: both give their order."""
FIRST: Final[Due] = (0, 0)


class Shelf(Protocol):
    """Where conversations are kept."""

    def conversations(self, keys: Iterable[int]) -> dict[int, Conversation]:
        """Return those that are there."""
        ...

    def due(self, after: Due, until: int, most: int) -> list[tuple[Due, Conversation]]:
        """Return some that are due until a time, after a place in their order."""
        ...


class Cache:
    """
    Conversations by session.

    Args:
        shelf: Where all of them are kept.
        now: Tells Unix ms.
    """

    def __init__(self, shelf: Shelf, now: Callable[[], int]) -> None:
        self._shelf = shelf
        self._now = now
        self._kept: dict[str, Conversation] = {}
        self._open: dict[str, Conversation] = {}  # those with an open row
        self._session_of: dict[str, str] = {}  # by message, of the open rows
        self._active: dict[str, int] = {}
        for conversation in self._waiting():
            self._active[conversation.id] = conversation.last
            if conversation.has_open:
                self._kept[conversation.id] = conversation
                self.index(conversation)

    def _waiting(self) -> Iterator[Conversation]:
        """Yield all conversations that are due some time, of which some hundred are in memory."""
        after = FIRST
        while found := self._shelf.due(after, NEVER - 1, _SOME):
            yield from (conversation for _, conversation in found)
            after = found[-1][0]

    def trim(self) -> None:
        """Forget most conversations when they are many; what changed in them is on the shelf."""
        if len(self._kept) > _CACHED:
            self._kept = dict(self._open)

    def prepare(self, events: Iterable[object]) -> None:
        """Fetch, in one statement, the conversations that some events move on."""
        wanted = {event.session for event in events if isinstance(event, Step | Remark)}
        wanted_keys = [keys.session_key(session) for session in wanted - self._kept.keys()]
        found = self._shelf.conversations(wanted_keys) if wanted_keys else {}
        for conversation in found.values():
            self._kept[conversation.id] = conversation

    def get(self, session: str) -> Conversation:
        """Return the conversation of a session, a new one where there is none."""
        conversation = self._kept.get(session)
        if conversation is None:
            key = keys.session_key(session)
            found = self._shelf.conversations([key]).get(key)
            conversation = self._kept[session] = found or Conversation(session)
        return conversation

    def at_hand(self, session: str) -> Conversation | None:
        """Return the conversation of a session if it is in the cache."""
        return self._kept.get(session)

    def due(self, after: Due, until: int) -> tuple[list[Conversation], Due | None]:
        """Return some conversations that are due, and where to go on; None after the last."""
        found = self._shelf.due(after, until, _SOME)
        some = [self._kept.setdefault(stored.id, stored) for _, stored in found]
        return some, found[-1][0] if len(found) == _SOME else None

    def unobserved(self) -> list[str]:
        """Return the sessions that were active within the last hour, or have not been settled."""
        found = self._shelf.due(FIRST, NEVER - 1, _SOME)
        return [conversation.id for _, conversation in found if not conversation.observed]

    # Sessions that were just active.

    def active(self) -> Mapping[str, int]:
        """Return when sessions last changed, ms, of those that are active."""
        after = self._now() - ACTIVE_MS
        self._active = {session: at for session, at in self._active.items() if at > after}
        return self._active

    def note_activity(self, session: str, at: int) -> None:
        """Note that something happened in a session at a time, ms."""
        self._active[session] = max(self._active.get(session, 0), min(at, self._now()))

    # Rows that are not over.

    def index(self, conversation: Conversation) -> None:
        """Note which rows of a conversation are open."""
        session = conversation.id
        for message in [one for one, its in self._session_of.items() if its == session]:
            del self._session_of[message]
        self._session_of |= {row.message: session for row in conversation.queue if not row.is_over}
        if conversation.has_open:
            self._open[session] = conversation
        else:
            self._open.pop(session, None)

    def opened(self) -> list[Conversation]:
        """Return the conversations with an open row."""
        return [*self._open.values()]

    def session_of(self, message: str) -> str | None:
        """Return the session of an open row."""
        return self._session_of.get(message)

    def open_rows_beside(self, rows: Iterable[Step | Remark]) -> dict[str, list[str]]:
        """Return, by table, the other open rows of the sessions that some rows are of."""
        if not self._open:
            return {}
        messages: set[str] = set()
        sessions: set[str] = set()
        for row in rows:
            messages.add(row.message)
            sessions.add(row.session)
        found: dict[str, list[str]] = {}
        for session in sessions & self._open.keys():
            for row in self._open[session].queue:
                if not row.is_over and row.message not in messages:
                    found.setdefault(row.table, []).append(row.message)
        return found

    def open_rows_since(self, last: int) -> dict[str, list[str]]:
        """Return, by table, the open rows of conversations unchanged since a time, ms."""
        found: dict[str, list[str]] = {}
        for conversation in self._open.values():
            if conversation.last <= last:
                for row in conversation.queue:
                    if not row.is_over:
                        found.setdefault(row.table, []).append(row.message)
        return found
