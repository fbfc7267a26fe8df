"""The container image: built from deploy/Dockerfile, and run as any engine runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.exporters import Exposed
from harness.processes.container import PORT, STATE, Container, Image, built_image
from harness.processes.opencode_writer import Neighbour
from harness.recordings import unpack
from harness.waiting import wait_for

RECORDING = "turns-2.0.15"
CALLS = "opencode_tool_invocations_total"
# The first test waits for the base and the build.
pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.timeout(900)]
_BUILD_TOOLS = ("pip", "pip3", "gcc", "cc", "g++", "make", "ld", "hatchling", "uv", "git", "npm")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Build the image once for all tests."""
    with built_image() as built:
        yield built


@pytest.fixture
def data() -> Iterator[Path]:
    """Return a data directory that anybody may read, in a folder for what the container leaves."""
    # Not below pytest's own: that is closed to the container's user.
    with tempfile.TemporaryDirectory(prefix="opencode-exporter-image-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "data").mkdir()
        yield Path(name) / "data"


def read_once(database: Path) -> Exposed:
    """Return what the exporter of this machine finds in a database."""
    command = [sys.executable, "-m", "opencode_exporter", "once", f"--source.path={database}"]
    return Exposed(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_the_image_says_how_it_is_run(image: Image) -> None:
    """A numeric user who is not root, one port, one volume, and the server as the command."""
    config = image.config
    user, _, group = config["User"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert list(config["ExposedPorts"]) == [f"{PORT}/tcp"]
    assert list(config["Volumes"]) == [STATE]
    assert [*config["Entrypoint"], *config["Cmd"]] == [
        *("opencode-exporter", "serve"),
        f"--web.listen-address=:{PORT}",
    ]


def test_nothing_that_builds_or_installs_is_left(image: Image) -> None:
    """The final image has no compiler, no pip and no build backend."""
    folders = ("bin", "sbin", "usr/bin", "usr/local/bin", "opt/opencode-exporter/bin")
    left = [
        tool
        for tool in _BUILD_TOOLS
        for folder in folders
        if os.path.lexists(image.files / folder / tool)  # a link is as good as the tool
    ]
    packages = {path.name for path in image.files.glob("opt/*/lib/*/site-packages/*")}
    assert left == []
    assert "opencode_exporter" in packages
    assert not {"pip", "setuptools", "hatchling", "wheel"} & packages


def test_it_serves_a_read_only_data_directory(image: Image, data: Path) -> None:
    """It counts what is there, is healthy, keeps its ledger, and ends with 0 when told to."""
    expected = read_once(unpack(RECORDING, data))
    with Container(image, data.parent, data=data) as container:
        wait_for(lambda: container.get("/-/ready")[0] == 200)
        page = container.page()
        assert page.total(CALLS) == expected.total(CALLS) > 0
        assert page.value("opencode_up", source="opencode.db") == 1
        assert container.health() == 0
        owner = int(image.config["User"].partition(":")[0])
        ledger = (container.ledger / "ledger.db").stat()
        assert (ledger.st_uid, ledger.st_mode & 0o777) == (owner, 0o600)
        assert container.stop() == 0
        # So a read-only root file system is no hindrance.
        written = [path for path in image.files.rglob("*") if path.lstat().st_uid == owner]
        assert written == []
    assert sorted(path.name for path in data.iterdir()) == ["opencode.db"]


def test_it_runs_as_whoever_owns_the_data(image: Image, data: Path) -> None:
    """Another user than the image's can write the ledger on a new volume, and read private data."""
    database = unpack(RECORDING, data)
    for path, mode in ((data, 0o700), (database, 0o600)):
        os.chown(path, 1234, 5678)
        path.chmod(mode)
    with Container(image, data.parent, data=data, user="1234:5678") as container:
        wait_for(lambda: container.get("/-/ready")[0] == 200)
        assert container.page().total(CALLS) > 0
        assert (container.ledger / "ledger.db").stat().st_uid == 1234


def test_it_follows_a_live_database(image: Image, data: Path) -> None:
    """What a writer commits is seen through the read-only mount, while its WAL is open."""
    with Neighbour(data / "opencode.db") as writer:
        writer.ask("commit", "3")
        with Container(image, data.parent, data=data) as container:
            wait_for(lambda: container.page().total(CALLS) == 3)
            assert (data / "opencode.db-shm").exists()
            writer.ask("commit", "4")
            wait_for(lambda: container.page().total(CALLS) == 7)


def test_the_health_check_fails_when_nothing_answers(image: Image, data: Path) -> None:
    """A server that hangs is not healthy."""
    unpack(RECORDING, data)
    with Container(image, data.parent, data=data) as container:
        assert container.health() == 0
        os.kill(container.pid, signal.SIGSTOP)
        try:
            assert container.health() != 0
        finally:
            os.kill(container.pid, signal.SIGCONT)


def test_it_runs_the_demo(image: Image, data: Path) -> None:
    """The same image serves the simulated agent, which needs no data."""
    command = ("demo", f"--web.listen-address=:{PORT}", "--demo.history=1d")
    with Container(image, data.parent, *command, data=data) as container:
        wait_for(lambda: container.get("/-/ready")[0] == 200, 60)
        assert container.page().total(CALLS) > 0
        assert container.stop() == 0
