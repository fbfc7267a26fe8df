"""
The memory: what the ledger has at hand, from one batch to the next.

Made anew where the ledger goes back to what is on disk.  Decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from opencode_exporter.clock import Clock
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.summary import NO_TIME
from opencode_exporter.counting.turns.cache import Cache
from opencode_exporter.ledger.hot_files import HotFiles
from opencode_exporter.ledger.open_rows import OpenRows
from opencode_exporter.ledger.rules import Rules
from opencode_exporter.ledger.store import Store


@dataclass(kw_only=True)
class Memory:
    """
    What a ledger has at hand.

    Attributes:
        store: Where the keys of what was counted, and conversations, are looked up.
        clock: Time of day.
        rules: By which it counts.
        salt: Mixed into what is kept of files and commands.
        names: Which names are real.
        open: The rows that may still change.
        hot: The files that are edited most.
        stand_ins: See `ForkPrints`.
        late_ms: When, by the stopwatch, old events last came in; 0 for never.
        since_settled: The first event of all batches since what waits was settled, ms.
        is_followed: Whether a follower is told of the calls that count.
        cache: Conversations.
    """

    store: Store
    clock: Clock
    rules: Rules
    salt: str
    names: RealNames
    open: OpenRows
    hot: HotFiles
    stand_ins: set[int] | None
    late_ms: int
    since_settled: int = NO_TIME
    is_followed: bool = False
    cache: Cache = field(init=False)

    def __post_init__(self) -> None:
        """Read the conversations in which something is open."""
        self.cache = Cache(self.store, self.clock.now_ms)
