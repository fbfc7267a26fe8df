"""Nothing that we start runs code from the directory in which the user stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import opencode_exporter
from contract.recorder import mcp_server
from contract.recorder.provision import mcp_command
from harness.databases import V1
from harness.places import DEPLOY
from harness.processes.command import ANYWHERE, Place
from harness.processes.process import Process
from harness.processes.scripts import STACK, Stack
from harness.real_tools import real_tool
from harness.waiting import PATIENCE_S, wait_for
from opencode_exporter.service.read_ahead import WORTH_IT_ROWS

PROGRAM = Path(sysconfig.get_path("scripts")) / "opencode-exporter"
CUSTOM = {"sitecustomize", "usercustomize"}
MODULES = {*sys.stdlib_module_names, *packages_distributions(), *CUSTOM} - {""}
LABELS = ("--label=job=opencode", "--label=instance=ada")
PACKAGE = Path(opencode_exporter.__file__).parent


class Trap:
    """A directory with a file for every module that there is; each says that it was run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "cloned"
        self._said = directory / "ran"
        self.directory.mkdir()
        for name in MODULES:
            code = f"open({str(self._said)!r}, 'a').write('{name} ')\nraise ImportError('trap')\n"
            (self.directory / f"{name}.py").write_text(code)

    @property
    def ran(self) -> str:
        """The modules of this directory that somebody has run."""
        return self._said.read_text() if self._said.exists() else ""


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """A directory in which nobody may import anything."""
    return Trap(tmp_path)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home whose database is so long that other processes read it, and its ledger."""
    place = Place(tmp_path_factory.mktemp("long"))
    with V1(place.source) as db:
        session = db.session()
        with db.db:
            for _ in range(WORTH_IT_ROWS // 50):
                db.rewrite_message(db.message(session), completed=db.tick(), finish="tool-calls")
            db.tool(db.message(session))
            db.db.execute(
                "INSERT INTO part (id, message_id, session_id, time_created, time_updated, data) "
                "SELECT message.id || value, message.id, part.session_id, part.time_created, "
                "part.time_updated, json_set(part.data, '$.callID', 'call' || value) "
                "FROM part, message, json_each(?)",
                (json.dumps([f"_{number}" for number in range(50)]),),
            )
    return place


def installed(place: Place, trap: Trap, *words: str) -> Process:
    """Return the installed command, to be run where the trap is."""
    place.log.unlink(missing_ok=True)
    command = [str(PROGRAM), *words]
    return Process(command, place.log, environment=place.environment(), within=trap.directory)


def serve(place: Place, trap: Trap, *words: str, until: str) -> None:
    """Start the installed command, wait for a line of its log, and end it in order."""
    with installed(place, trap, *words, *ANYWHERE) as process:
        wait_for(lambda: not process.is_running or until in process.log)
        assert process.stop() == 0
    assert until in process.log


@pytest.mark.slow
def test_commands_that_start_readers(long: Place, trap: Trap) -> None:
    """`serve`, `once`, `report` and `backfill` let processes read, which took modules from here."""
    source = f"--source.path={long.source}"
    serve(long, trap, "serve", source, until="history counted")
    for words in (["once"], ["report"], ["backfill", *LABELS, "--step=1h", "--output=-"]):
        with installed(long, trap, *words, source) as process:
            assert process.wait() == 0
        assert "ended early" not in process.log
    assert trap.ran == ""


@pytest.mark.slow
def test_demo(tmp_path: Path, trap: Trap) -> None:
    """`demo` starts its agent, which took modules from here."""
    serve(Place(tmp_path), trap, "demo", "--demo.history=1d", until="history counted")
    assert trap.ran == ""


@pytest.mark.slow
@pytest.mark.parametrize("words", [["check"], ["--help"], ["serve", "--help"]])
def test_commands_that_start_nothing(words: list[str], tmp_path: Path, trap: Trap) -> None:
    """What else is run from here takes nothing either."""
    with installed(Place(tmp_path), trap, *words) as process:
        process.wait()
    assert trap.ran == ""


@pytest.mark.real
def test_make_stack(tmp_path: Path, trap: Trap) -> None:
    """What `make stack` starts took modules from here, multiprocessing first of all."""
    real_tool("prometheus")
    stack = Stack(tmp_path, STACK, within=trap.directory)
    with stack:
        stack.says("Ready.")
        assert stack.stop() == 0, stack.log
    assert trap.ran == ""


@pytest.mark.real
def test_make_backfill_demo(tmp_path: Path, trap: Trap) -> None:
    """So did what `make backfill-demo` starts."""
    real_tool("prometheus")
    real_tool("promtool")
    demo = Stack(tmp_path, "backfill_demo.py", "--days=2", within=trap.directory)
    with demo:
        demo.says("Ready.")
        assert demo.stop() == 0, demo.log
    assert trap.ran == ""


@pytest.mark.slow
def test_the_recorders_server(trap: Trap) -> None:
    """The MCP server of recordings took modules from beside it, where the model's commands run."""
    server = trap.directory / "the_server.py"
    server.write_bytes(Path(mcp_server.__file__).read_bytes())
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    done = subprocess.run(
        mcp_command(server),
        input=json.dumps(asked) + "\n",
        cwd=trap.directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert [tool["name"] for tool in json.loads(done.stdout)["result"]["tools"]]
    assert trap.ran == ""


def test_every_python_that_is_started_is_told_so() -> None:
    """A new one would have to be told, too."""
    code = "".join(
        path.read_text("utf-8") for folder in (PACKAGE, DEPLOY) for path in folder.rglob("*.py")
    )
    started = re.findall(r"sys\.executable,\s*\"(.*?)\"", code)
    assert len(started) == code.count("sys.executable")
    assert set(started) <= {"-P", "-I"}
