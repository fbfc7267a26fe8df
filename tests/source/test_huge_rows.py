"""A row of any size counts right, and takes no more memory than promised."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from harness.databases import BEGIN_MS, V1, V2, call, tool_part
from harness.exporters import Bench, Exposed, exposed
from harness.rereading import CALLS, REJECTED

HUGE: Final = 100_000_000
MOST_MB: Final = 160
OUTPUT: Final = "opencode_tool_output_bytes_total"
# Prints the highest memory that the process itself ever had.
MEASURED: Final = (
    "import atexit, re, sys\n"
    "from opencode_exporter.commands.cli import main\n"
    "status = lambda: open('/proc/self/status').read()\n"
    "atexit.register(lambda: print(re.search(r'VmHWM:\\s*(\\d+)', status())[1], file=sys.stderr))\n"
    "main()\n"
)


def read(source: Path) -> tuple[Exposed, float]:
    """Return what ``once`` prints, and the most memory it took, in MB."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, "once", f"--source.path={source}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Exposed(ran.stdout), int(ran.stderr.splitlines()[-1]) / 1024


def long_row(database: V1 | V2, table: str, data: object, unit: str, count: int) -> None:
    """Put a text that is repeated in the place of a mark into the newest row."""
    head, tail = json.dumps(data).split("@@@")
    database.db.execute(
        f"UPDATE {table} SET data = ? WHERE rowid = (SELECT max(rowid) FROM {table})",
        (head + unit * count + tail,),
    )


def v1_part(database: V1, unit: str = "x", **facts: Any) -> None:
    """Write a call with a mark in it, and make that long."""
    part = tool_part(**({"tool": "read", "output": "12345"} | facts), now=BEGIN_MS + 900)
    database.tool(database.message(database.session()), tool="read")
    long_row(database, "part", part, unit, HUGE // len(unit))


def v1_user(database: V1, **facts: Any) -> None:
    """Write a call, and then what the user said with a mark in it, and make that long."""
    database.tool(database.message(database.session()), tool="read", output="12345")
    data = {"role": "user", "time": {"created": BEGIN_MS}, "agent": "build"} | facts
    message = database.message(database.session(), role="user")
    database.raw_part(message, json.dumps({"type": "text", "text": "please"}))
    long_row(database, "message", data, "x", HUGE)


def v2_call(database: V2, unit: str = "x", **facts: Any) -> None:
    """Write a step with a call with a mark in it, and make that long."""
    database.assistant(database.session(), [call(**facts)])
    data = json.loads(database.db.execute("SELECT data FROM session_message").get)
    long_row(database, "session_message", data, unit, HUGE // len(unit))


def v1(write: Callable[..., None], **facts: Any) -> Callable[[Path], None]:
    """Return what makes a database of 1.x."""

    def make(path: Path) -> None:
        with V1(path) as database:
            write(database, **facts)

    return make


def v2(write: Callable[..., None], **facts: Any) -> Callable[[Path], None]:
    """Return what makes a database of 2.x."""

    def make(path: Path) -> None:
        with V2(path) as database:
            write(database, **facts)

    return make


MADE: Final[dict[str, tuple[Callable[[Path], None], int]]] = {
    "diffs of a user's message": (
        v1(v1_user, summary={"diffs": [{"file": "a", "patch": "@@@"}]}),
        5,
    ),
    "output": (v1(v1_part, output="@@@"), HUGE),
    "output of escapes": (v1(v1_part, output="@@@", unit='\\"\\n'), HUGE // 2),
    "attachment": (v1(v1_part, metadata={"attachments": [{"url": "@@@"}]}), 5),
    "output with half an emoji": (v1(v1_part, output="@@@\ud83d"), HUGE + 3),
    "input": (v1(v1_part, tool="write", input={"filePath": "a", "content": "@@@"}), 5),
    "output of 2.x": (v2(v2_call, output="@@@"), HUGE),
    "input of 2.x": (v2(v2_call, output="12345", input={"path": "@@@"}), 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_a_row_of_any_size_counts_within_the_memory_that_is_promised(
    name: str, tmp_path: Path
) -> None:
    """Messages of 46 to 461 MB are reported: each took twice its size, and the unit was killed."""
    make, output = MADE[name]
    make(tmp_path / "opencode.db")
    page, most = read(tmp_path / "opencode.db")
    assert page.total(CALLS) == 1
    assert page.total(OUTPUT) == output
    assert page.total(REJECTED) == 0
    assert most < MOST_MB


@pytest.mark.slow
def test_many_large_rows_are_not_in_memory_at_once(tmp_path: Path) -> None:
    """The parts of 64 messages are read together; as large ones they took a gigabyte."""
    with V1(tmp_path / "opencode.db") as database, database.db:
        session = database.session()
        for number in range(130):
            message = database.message(session)
            for size in (900_000, 3_000_000):
                name = f"call_{number}_{size}"
                database.tool(message, call=name, tool="read", output="x" * size)
    page, most = read(tmp_path / "opencode.db")
    assert page.by(CALLS, "tool") == {("read",): 260}
    assert page.total(OUTPUT) == 130 * 3_900_000
    assert most < MOST_MB


BROKEN: Final[dict[str, tuple[str, str, str]]] = {
    "no JSON": ("@@@", "x", "json"),
    "no end": ('{"type":"tool","tool":"read","callID":"c","state":{"output":"@@@', "x", "json"),
    "brackets": ("@@@", "[", "json"),
    "wanted far too often": (
        '{"type":"tool","tool":"read","callID":"c","state":{"metadata":{"files":[@@@{}]}}}',
        '{"file":"a.txt"},',
        "size",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_huge_row_that_cannot_be_used_is_set_aside(name: str, tmp_path: Path) -> None:
    """It counts as rejected, with a cause; the row beside it counts."""
    template, unit, cause = BROKEN[name]
    with V1(tmp_path / "opencode.db") as database:
        message = database.message(database.session())
        database.tool(message, tool="read", output="12345")
        database.raw_part(message, "{}")
        head, tail = template.split("@@@")
        data = head + unit * (HUGE // len(unit)) + tail
        database.db.execute("UPDATE part SET data = ? WHERE rowid = 2", (data,))
    page, most = read(tmp_path / "opencode.db")
    assert page.by(CALLS, "tool") == {("read",): 1}
    assert page.by(REJECTED, "table", "cause") == {("part", cause): 1}
    assert most < MOST_MB


@pytest.mark.parametrize("generation", [V1, V2])
def test_a_large_call_that_goes_on_is_followed_to_its_end(
    generation: type[V1 | V2], bench: Bench
) -> None:
    """Its size is compared at each poll: that of what is left of it would change for ever."""
    long = "x" * 1_500_000
    exporter = bench.exporter()
    with generation(bench.source) as database:
        end: Callable[[], object]
        if isinstance(database, V1):
            message = database.message(database.session())
            part = database.tool(message, tool="read", status="running", input={"filePath": long})
            end = lambda: database.rewrite(part, status="completed", output=long)  # noqa: E731
        else:
            going = call(status="running", input={"path": long})
            row = database.assistant(database.session(), [going], completed=None)
            end = lambda: database.rewrite(row, [call(output=long)])  # noqa: E731
        read_before = 0.0
        for _ in range(2):
            exporter.poll()
            page = exposed(exporter)
            assert page.total("opencode_tool_in_flight") == 1
            if read_before:
                assert page.total("opencode_exporter_rows_read_total") == read_before
            read_before = page.total("opencode_exporter_rows_read_total")
            database.session()
        end()
        exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.total(CALLS) == 1
    assert page.total(OUTPUT) == len(long)
