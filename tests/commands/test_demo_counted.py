"""The demo is the main job: what its agent tallied is what the exporter counts."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Literal

import httpx
import pytest

from harness.exporters import Bench, Exposed, exposed
from harness.processes.command import ANYWHERE, Place
from harness.waiting import wait_for
from opencode_exporter.demo import Demo

GENERATIONS: tuple[Literal["v1", "v2"], ...] = ("v1", "v2")


@pytest.mark.slow
@pytest.mark.parametrize("generation", GENERATIONS)
def test_history_is_counted_as_the_agent_tallied_it(
    generation: Literal["v1", "v2"], bench: Bench
) -> None:
    """Every call of the demo's history is counted once, under the names and statuses intended."""
    demo = Demo(bench.directory, generation=generation, history_days=2, pace=1, seed=7)
    tally = demo.create()
    bench.clock.ms = 1_900_000_000_000  # long after: what never ended has been given up
    page = bench.read_once()
    counted = page.by("opencode_tool_invocations_total", "tool", "status")
    for key in [key for key in counted if key[1] == "abandoned"]:
        del counted[key]  # the tally leaves out calls that never end
    wanted = {key: n for key, n in tally.verdicts.items() if key[1] != "abandoned"}
    assert counted == wanted
    assert page.total("opencode_exporter_rows_rejected_total") == 0
    demo.close()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_live_work_is_counted_too(generation: Literal["v1", "v2"], bench: Bench) -> None:
    """What the agent does while the exporter polls is counted when it has stopped."""
    demo = Demo(bench.directory, generation=generation, history_days=0.1, pace=50, seed=3)
    demo.create()
    exporter = bench.exporter(in_memory=True)
    bench.clock.ms = time.time_ns() // 1_000_000
    stop = threading.Event()
    agent = threading.Thread(target=demo.run, args=(stop,))
    agent.start()
    before = sum(demo.issued.verdicts.values())

    def worked() -> bool:
        exporter.poll()
        return sum(demo.issued.verdicts.values()) >= before + 30

    wait_for(worked)
    stop.set()
    agent.join()
    exporter.poll()
    counted = exposed(exporter).by("opencode_tool_invocations_total", "tool", "status")
    ends = ("completed", "error", "denied")
    ended = {key: n for key, n in counted.items() if key[1] in ends}
    tallied = demo.issued.verdicts
    assert ended == {key: n for key, n in tallied.items() if key[1] in ends}
    exporter.close()
    demo.close()


@pytest.mark.slow
@pytest.mark.parametrize("generation", GENERATIONS)
def test_demo_command_serves_rising_counters(generation: str, tmp_path: Path) -> None:
    """`demo` is ready within seconds, its counters rise, and it leaves nothing behind."""
    words = ["demo", f"--demo.generation={generation}", "--demo.pace=20", "--demo.history=1d"]
    with Place(tmp_path).running(*words, *ANYWHERE) as (process, url):

        def total() -> float:
            page = Exposed(httpx.get(f"{url}/metrics").text)
            return page.total("opencode_tool_invocations_total")

        first = wait_for(total)
        wait_for(lambda: total() > first + 5)
        found = re.search(r"<code>(/.+)/opencode[.]db</code>", httpx.get(f"{url}/").text)
        assert found is not None
        assert Path(found[1]).exists()
        assert process.stop() == 0
    assert not Path(found[1]).exists()
