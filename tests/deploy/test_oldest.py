"""
The bounds of `pyproject.toml`: with the oldest versions that they allow everything works.

The wheel is installed with them into an environment of its own; what is no direct
dependency is as new as can be, as it is for users.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from harness.exporters import Exposed
from harness.installed import run
from harness.otlp.pushes import EXPORTS, calls_of
from harness.otlp.receivers import PROTOCOLS, each_protocol
from harness.otlp.span_pushes import QUICK, SPANS, TRACES
from harness.places import GOLDEN, ROOT
from harness.processes.served import Served
from harness.real_tools import built_wheel, missing
from harness.recordings import unpack
from harness.waiting import wait_for
from harness.web_server import hashed

RECORDING: Final = "2.0.15"
UNREACHABLE: Final = re.compile("error sending request|[Ff]ailed to fetch|dns error|timed out")
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]  # it installs all that is needed

Install = Callable[..., subprocess.CompletedProcess[str]]


def uv(*words: str | Path) -> str:
    """Run uv; without a registry that it can ask, skip with a sentence."""
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    done = run(
        program or missing("uv is not installed: `make unit` does so"),
        *words,
        "--quiet",
        UV_PYTHON_DOWNLOADS="never",
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        missing(f"the registry cannot be asked: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the wheel and the oldest versions."""
    wheel = built_wheel()
    folder = tmp_path_factory.mktemp("oldest")
    oldest, environment = folder / "oldest.txt", folder / "environment"
    python = environment / "bin" / "python"
    uv(
        *("pip", "compile", ROOT / "pyproject.toml", "--extra=grpc", "--python", sys.executable),
        *("--resolution=lowest-direct", "--output-file", oldest),
    )
    uv("venv", "--python", sys.executable, environment)
    into = ("pip", "install", "--link-mode=copy", "--python", python)
    uv(*into, "--requirements", oldest)
    uv(*into, "--no-deps", wheel)
    return python


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Lay out a recording."""
    return unpack(RECORDING, tmp_path / "data")


def test_every_bound_is_the_version_that_is_tried(python: Path) -> None:
    """What is installed is the oldest of each: no other dependency asks for a newer one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["grpc"]]
    frozen = uv("pip", "freeze", "--python", python).lower()
    for requirement in wanted:
        name, bounds = requirement.split(">=")
        least = bounds.partition(",")[0]
        (version,) = re.findall(rf"^{re.escape(name)}==(.*)$", frozen, re.MULTILINE)
        assert version.startswith(f"{least}.") or version == least, (requirement, version)


def test_recording_is_served_and_scraped(python: Path, database: Path, tmp_path: Path) -> None:
    """All calls are on the page, as text and as OpenMetrics, packed, and behind a password."""
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    config = run_folder / "web.yml"
    config.write_text(f"basic_auth_users: {{ada: {hashed('right')}}}")
    web = f"--web.config.file={config}"
    with Protected(database, run_folder, web, home=tmp_path, python=python) as served:
        wait_for(served.is_ready)
        page = served.page()
        assert page.value("opencode_up", source="opencode.db") == 1
        assert page.total("opencode_tool_invocations_total") == calls_of_the_recording()
        openmetrics = served.get("/metrics", accept="application/openmetrics-text;version=1.0.0")
        assert openmetrics.text.endswith("# EOF\n")
        assert openmetrics.headers["content-encoding"] == "gzip"
        assert "opencode.db" in served.get("/").text
        assert httpx.get(f"http://{served.target}", trust_env=False).status_code == 401
        assert served.stop() == 0
        assert '"error"' not in served.log


class Protected(Served):
    """An exporter that wants a password."""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self._client.auth = ("ada", "right")


def calls_of_the_recording() -> float:
    """Return how many invocations the golden page of the recording has."""
    golden = GOLDEN / f"{RECORDING}.prom"
    return Exposed(golden.read_text("utf-8")).total("opencode_tool_invocations_total")


@each_protocol
def test_recording_is_pushed(
    protocol: str, python: Path, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics arrive, packed and with the header; a redirect or a refusal is told; spans too."""
    with PROTOCOLS[protocol]() as receiver:
        receiver.name_in(
            monkeypatch,
            **QUICK,
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abc",
        )
        with Served(database, tmp_path / "run", TRACES, home=tmp_path, python=python) as served:
            wait_for(lambda: receiver.received and calls_of(receiver.received[-1].body))
            assert calls_of(receiver.received[-1].body) == calls_of_the_recording()
            assert receiver.received[-1].headers["authorization"] == "Bearer abc"
            assert served.page().value(SPANS, result="error") == 0
            receiver.status, receiver.location = 307, "http://127.0.0.1:1/"
            wait_for(lambda: served.page().value(EXPORTS, result="error"))
            wait_for(lambda: "push failed" in served.log)
            told = "points to http://127.0.0.1:1/" if protocol == "http" else "no such key"
            assert told in served.log
            assert served.stop() == 0


@pytest.mark.parametrize("command", ["report", "check", "once"])
def test_commands_print(command: str, python: Path, database: Path) -> None:
    """What needs no server works as well."""
    done = run(
        *(python, "-m", "opencode_exporter", command, f"--source.path={database}"),
        HOME=str(database.parent),
    )
    assert done.returncode == 0, done.stderr
    assert {"report": "Skill runs", "check": "all is well", "once": "opencode_up"}[
        command
    ] in done.stdout


def test_wheel_is_content_with_them(python: Path) -> None:
    """Nothing that is installed asks for anything else."""
    assert uv("pip", "check", "--python", python) == ""
