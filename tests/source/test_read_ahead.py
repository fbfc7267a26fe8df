"""A history that other processes read, and bring as sums, counts as if read row by row."""

from __future__ import annotations

import pytest

from harness.clock import HOUR_MS
from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed, exposed
from harness.pages import counted
from harness.places import RECORDINGS
from harness.recordings import truth, unpack
from harness.rereading import forget_cursors
from opencode_exporter.counting.summary import Summary
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.service import read_ahead, source_poll

ABOUT_READING = ("opencode_exporter_poll", "opencode_exporter_last", "opencode_exporter_ledger")
NAMES = sorted(str(path.parent.relative_to(RECORDINGS)) for path in RECORDINGS.rglob("truth.json"))
WINDOW = read_ahead._WINDOW_ROWS
pytestmark = pytest.mark.slow  # others read, in processes of their own


@pytest.fixture
def _ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let others read however little there is."""
    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)


def shown(page: Exposed) -> dict[str, object]:
    """Return all series but those about the reading itself."""
    return {
        name: series for name, series in page.samples.items() if not name.startswith(ABOUT_READING)
    }


@pytest.mark.parametrize("recording", NAMES)
@pytest.mark.parametrize("history", ["count", "skip"])
def test_same_page_whoever_reads(
    bench: Bench, recording: str, history: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every series has the value it has when one process reads event by event."""
    unpack(recording, bench.directory)
    bench.clock.ms = truth(recording)["recorded_at_ms"] + 24 * HOUR_MS
    alone = bench.read_once(history=history)
    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    assert shown(bench.read_once(history=history)) == shown(alone)


@pytest.mark.usefixtures("_ahead")
@pytest.mark.parametrize("readers", [1, 3])
def test_same_page_however_many_read(
    bench: Bench, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reads its turn of as many as there are: two were taken for granted in a reader."""
    monkeypatch.setattr(read_ahead, "_READERS", readers)
    monkeypatch.setattr(read_ahead, "_WINDOW_ROWS", 8)
    with V1(bench.source) as database, database.db:
        session = database.session()
        for number in range(20):
            database.tool(database.message(session), call=f"call_{number}")
    assert counted(bench.read_once()) == {("read", "completed"): 20}


def fill(database: V1, session: str, calls: int, *, first: int = 0) -> str:
    """Write calls into one message, numbered from the first; return the message."""
    message = database.message(session)
    for number in range(first, first + calls):
        database.tool(message, call=f"call_{number}")
    return message


@pytest.mark.usefixtures("_ahead")
@pytest.mark.parametrize("places", [{0}, {20}, {40}, {0, 20, 40}], ids=str)
def test_orphans_make_nobody_read_twice(
    bench: Bench, places: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call without a message had each sum refused, and the history read event by event."""
    monkeypatch.setattr(read_ahead, "_WINDOW_ROWS", 20)
    answers: list[bool] = []
    is_new = Ledger.is_new

    def noted(ledger: Ledger, summary: Summary) -> bool:
        answers.append(is_new(ledger, summary))
        return answers[-1]

    monkeypatch.setattr(Ledger, "is_new", noted)
    with V1(bench.source) as database:
        for number in range(41):
            session = database.session()
            database.tool(database.message(session), call=f"call_{number}")
            if number in places:
                orphan(database, session, f"call_orphan_{number}")
    exporter = bench.exporter()
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert counted(page) == {("read", "completed"): 41 + len(places)}
    assert len(answers) > 5
    assert all(answers)
    read = "opencode_exporter_rows_read_total"
    assert page.by(read, "table") == {("message",): 41, ("part",): 41 + len(places)}


def orphan(database: V1, session: str, call: str) -> None:
    """Write a call whose message is not there."""
    message = database.message(session)
    database.tool(message, call=call)
    database.db.execute("PRAGMA foreign_keys = OFF")
    database.db.execute("DELETE FROM message WHERE id = ?", (message,))
    database.db.execute("PRAGMA foreign_keys = ON")


@pytest.mark.usefixtures("_ahead")
def test_namesake_in_a_later_window(bench: Bench) -> None:
    """A call whose message and id are a counted call's is still one of its own."""
    with V1(bench.source) as database, database.db:
        message = fill(database, database.session(), WINDOW + 10)
        database.tool(message, call="call_3")
        database.tool(message, call="call_3")
    for _ in range(2):
        exporter = bench.exporter()
        exporter.poll()
        assert counted(exposed(exporter)) == {("read", "completed"): WINDOW + 12}
        exporter.close()
        forget_cursors(bench.ledger)


@pytest.mark.usefixtures("_ahead")
def test_second_database_with_the_same_calls(bench: Bench) -> None:
    """A copy of a database counts once, and what only the copy has counts too."""
    other = bench.directory / "opencode-copy.db"
    with V1(bench.source) as database, database.db:
        session = database.session()
        fill(database, session, 50)
    other.write_bytes(bench.source.read_bytes())
    with V1(other, ddl="") as database, database.db:
        fill(database, session, 7)
    exporter = bench.exporter(source_paths=(bench.source, other))
    exporter.poll()
    assert counted(exposed(exporter)) == {("read", "completed"): 57}
    exporter.close()


@pytest.mark.usefixtures("_ahead")
@pytest.mark.parametrize("generation", [V1, V2])
def test_forks_and_what_still_runs(bench: Bench, generation: type[V1 | V2]) -> None:
    """What cannot be summed is judged by itself: copies, calls that run, skills."""
    with generation(bench.source) as database, database.db:
        session = database.session()
        if isinstance(database, V1):
            message = fill(database, session, 20)
            database.tool(message, tool="skill", call="call_skill", input={"name": "commit"})
            database.tool(message, call="call_open", status="running")
        else:
            for number in range(20):
                database.assistant(session, [call(id=f"call_{number}")])
            database.assistant(
                session, [call(name="skill", id="call_skill", input={"id": "commit"})]
            )
            database.assistant(session, [call(id="call_open", status="running")], completed=None)
        database.fork(session)
    exporter = bench.exporter()
    exporter.poll()
    page = exposed(exporter)
    assert counted(page) == {("read", "completed"): 20, ("skill", "completed"): 1}
    assert page.value("opencode_tool_in_flight", tool="read") == 1
    assert page.total("opencode_exporter_copies_skipped_total") == 22
    exporter.close()


@pytest.mark.usefixtures("_ahead")
def test_restart_after_a_history_that_was_summed(bench: Bench) -> None:
    """A fork made after the restart is known to copy calls that were only summed."""
    with V1(bench.source) as database, database.db:
        session = database.session()
        fill(database, session, 30)
    exporter = bench.exporter()
    exporter.poll()
    exporter.close()
    with V1(bench.source, ddl="", now=database.now) as later:
        later.fork(session)
    exporter = bench.exporter()
    exporter.poll()
    page = exposed(exporter)
    assert counted(page) == {("read", "completed"): 30}
    assert page.value("opencode_exporter_copies_skipped_total", cause="fork") == 30
    exporter.close()
