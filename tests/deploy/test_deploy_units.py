"""The service units: what systemd and launchd are told."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path

import pytest

from harness.places import DEPLOY
from harness.real_tools import real_tool
from opencode_exporter.service.settings import state_directory

UNIT = DEPLOY / "systemd" / "opencode-exporter.service"
AGENT = DEPLOY / "launchd" / "io.github.opencode-exporter.plist"
INSTALLED = ".local/opencode-exporter/bin/opencode-exporter"
# They drop capabilities, which a user's manager may not: status=218/CAPABILITIES.
_FOR_ROOT_ALONE = {
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "DynamicUser",
    "Group",
    "PrivateDevices",
    "ProtectClock",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "User",
}
# Asked for by name they fail the start where users may make no namespaces: 217/USER.
_NOT_EVERYWHERE = {"PrivateUsers"}
_A_USERS_PROCESS = """
User=daemon
CapabilityBoundingSet=
ProtectClock=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
"""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit as on a machine where the exporter is installed."""
    program = tmp_path / "opencode-exporter"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    text = UNIT.read_text("utf-8")
    assert f"ExecStart=%h/{INSTALLED}" in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(f"%h/{INSTALLED}", str(program)), encoding="utf-8")
    return copy


def directives() -> list[tuple[str, str]]:
    """Return what the unit sets, in its order."""
    lines = UNIT.read_text("utf-8").splitlines()
    return [
        (name, value)
        for name, mark, value in (line.partition("=") for line in lines if line[:1] != "#")
        if mark
    ]


def analyze(command: str, unit: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Let systemd look at a user's unit."""
    return subprocess.run(
        [real_tool("systemd-analyze"), command, "--user", *more, str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(unit.parent),
            "XDG_RUNTIME_DIR": str(unit.parent),
        },
    )


@pytest.mark.real
def test_systemd_takes_the_unit(unit: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    done = analyze("verify", unit, "--man=no")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.real
def test_the_unit_is_hardened(unit: Path) -> None:
    """
    Its exposure is at most 2.5 of 10.

    systemd takes a unit for root's: what every user's process has not is told to it here.
    """
    text = unit.read_text("utf-8").replace("[Service]", "[Service]" + _A_USERS_PROCESS)
    unit.write_text(text, encoding="utf-8")
    done = analyze("security", unit, "--offline=yes", "--threshold=25", "--no-pager")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_starts_for_every_user() -> None:
    """Nothing in it needs more than a user's own manager can do."""
    assert {name for name, _ in directives()} & (_FOR_ROOT_ALONE | _NOT_EVERYWHERE) == set()


def test_the_unit_may_write_the_ledger_alone() -> None:
    """All is read-only but the exporter's default state directory, which is made beforehand."""
    given = dict(directives())
    state = state_directory({}, Path("%h"))
    assert given["ReadWritePaths"] == str(state)
    assert given["ExecStartPre"] == f"+/bin/mkdir -p -m 0700 {state}"
    assert given["Environment"] == f"XDG_STATE_HOME={state.parent}"
    assert (given["ProtectSystem"], given["ProtectHome"]) == ("strict", "read-only")


def test_the_unit_goes_on_after_a_failure_but_not_after_a_bad_flag() -> None:
    """Exit code 2 is a command line that is not understood; SIGHUP reads certificates anew."""
    given = dict(directives())
    assert (given["Restart"], given["RestartPreventExitStatus"]) == ("on-failure", "2")
    assert given["ExecReload"] == "/bin/kill -HUP $MAINPID"
    # For systemd a program that SIGHUP ends has ended well; at its very start it cannot help it.
    assert given["RestartForceExitStatus"] == "SIGHUP"


@pytest.mark.real
def test_the_agent_is_a_property_list(tmp_path: Path) -> None:
    """Two readers agree on what it says."""
    binary = tmp_path / "agent.bin"
    # It ends with 0 in any case; what it cannot read it does not write.
    subprocess.run(
        [real_tool("plistutil"), "-i", str(AGENT), "-o", str(binary), "-f", "bin"], check=True
    )
    assert plistlib.loads(binary.read_bytes()) == plistlib.loads(AGENT.read_bytes())


def test_the_agent_says_what_launchd_knows() -> None:
    """Its keys are launchd.plist(5)'s, its label is the file's name, and failures bring it back."""
    agent = plistlib.loads(AGENT.read_bytes())
    assert agent["Label"] == AGENT.stem
    assert set(agent) == {
        *("Label", "ProgramArguments", "RunAtLoad", "KeepAlive", "ThrottleInterval"),
        *("ProcessType", "LowPriorityIO", "Nice", "Umask"),
    }
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ProcessType"] == "Background"
    assert agent["Umask"] == 0o077


@pytest.mark.slow
def test_the_agent_starts_the_exporter_of_its_user(home: Path) -> None:
    """What it runs finds the installed program below the home, and logs to the user's logs."""
    program = home / INSTALLED
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "told to $*" >&2\n', encoding="utf-8")
    program.chmod(0o755)
    (home / "Library" / "Logs").mkdir(parents=True)
    command = plistlib.loads(AGENT.read_bytes())["ProgramArguments"]
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    subprocess.run(command, env=environment, check=True)
    log = home / "Library" / "Logs" / "opencode-exporter.log"
    assert log.read_text("utf-8") == "told to serve\n"
