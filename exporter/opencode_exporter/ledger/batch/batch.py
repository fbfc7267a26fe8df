"""
The batch: what is counted together, from one commit to the next.

Made new for each commit; where that fails it is thrown away.  Writes nothing.
"""

from __future__ import annotations

from opencode_exporter import catalog as c
from opencode_exporter.counting import keys
from opencode_exporter.counting.fork_prints import ForkPrints
from opencode_exporter.counting.series import Labels
from opencode_exporter.counting.summary import NO_TIME, first_of
from opencode_exporter.counting.sums import DeltasBySpan, SumsBySpan
from opencode_exporter.counting.tally import Tally
from opencode_exporter.counting.turns.cache import NEVER
from opencode_exporter.counting.turns.conversations import Conversations
from opencode_exporter.events import Invocation, Step
from opencode_exporter.ledger.batch.admission import Admission, Verdict
from opencode_exporter.ledger.batch.memory import Memory
from opencode_exporter.ledger.store import Changes


class Batch:
    """
    The events of one batch.

    Args:
        memory: What the ledger has at hand.
        is_live: Whether the history is in, so that old events are late ones.
        has_orphans: Whether a call was counted whose message could not be read.

    Attributes:
        sums: What they come to.
        admission: Tells which of them are new.
        conversations: Those that they move on.
        counted: The calls that a follower is told of.
        lost: Messages whose steps were given up.
        first: The first time of what counts, ms; `NO_TIME` without any.
        changes: What is to be written, as far as it is known before the commit.
    """

    def __init__(self, memory: Memory, *, is_live: bool, has_orphans: bool) -> None:
        self._memory = memory
        self.is_live = is_live
        rules = memory.rules
        span_of = rules.times.span_of if rules.times is not None else None
        self.sums = SumsBySpan(span_of, rules.abandon_after_ms)
        self.admission = Admission(
            memory.store.owners,
            ForkPrints(memory.store.prints, memory.stand_ins),
            has_orphans=has_orphans,
            is_open=memory.open.concerns,
        )
        self.conversations = Conversations(
            memory.cache,
            memory.salt,
            rules.abandon_after_ms,
            admit=self._admit_lost,
            now=memory.clock.now_ms,
            tally_at=self._tally_at,
        )
        self.counted: list[Invocation] = []
        self.lost: set[str] = set()
        self.first = NO_TIME
        self.changes = Changes()

    def _tally_at(self, ms: int) -> Tally:
        return self.sums.at(ms).tally

    def _admit_lost(self, step: Step) -> bool:
        """Note a step that is given up; return whether it counts."""
        self.note_time(step.created)
        self.lost.add(step.message)
        self._memory.open.sleep(step.message)
        return self.admission.admit_late(step, keys.row_key(step)) is Verdict.NEW

    def note_time(self, *times: int) -> None:
        """Note when something happened that counts, ms; times that make no sense are none."""
        self.first = min(self.first, first_of(times))

    def first_ms(self) -> int:
        """Return the time of the first event: not after now, and now without any."""
        return min(self.first, self._memory.clock.now_ms())

    def count(self, metric: c.Metric, labels: Labels, value: int = 1) -> None:
        """Add to a series of a source, whose label is the first."""
        source, *others = labels
        shown = self._memory.names.slots.take("source", source)
        cut = shown != source and metric.kind == "counter"
        self.sums.timeless.count(metric, (shown, *others), value, cut=cut)

    def deltas(self) -> DeltasBySpan:
        """Return what the batch adds to each series; new names take their slots here."""
        return self.sums.deltas(self._memory.names)

    def changed(self) -> Changes:
        """Return what is to be written but for series; nothing may be counted any more."""
        memory, changes = self._memory, self.changes
        changes.slots = memory.names.slots.given()
        changes.seen = self.admission.seen
        changes.prints = self.admission.prints.new()
        changes.open_rows = memory.open.changes()
        changes.edited = memory.hot.changes()
        for conversation in self.conversations.changed.values():
            due = self.conversations.due_of(conversation)
            key = keys.session_key(conversation.id)
            changes.conversations[key] = (due if due < NEVER else None, conversation)
        return changes
