"""The wheel as users get it: installed into an environment of its own, with what it needs alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from harness.installed import run
from harness.places import ROOT
from harness.real_tools import built_wheel, missing
from harness.recordings import unpack
from opencode_exporter import __version__

COMPLETE: Final = "_OPENCODE_EXPORTER_COMPLETE"
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]  # it installs all that is needed


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command, installed from the built wheel into a new environment."""
    wheel = built_wheel()
    folder = tmp_path_factory.mktemp("clean")
    locked = ("--require-hashes", "-r", ROOT / "exporter" / "requirements.txt")
    python = folder / "bin" / "python"
    for command in (
        (sys.executable, "-m", "venv", folder),
        (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *locked),
        (python, "-m", "pip", "install", "-q", "--no-deps", wheel),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    return folder / "bin" / "opencode-exporter"


def test_wheel_needs_nothing_but_what_is_locked(installed: Path) -> None:
    """Pip finds every dependency that the wheel names among the locked ones."""
    done = run(installed.with_name("python"), "-m", "pip", "check")
    assert done.returncode == 0, done.stdout


def test_installed_command_says_its_version(installed: Path) -> None:
    """`--version` is one line with the version of the wheel."""
    assert run(installed, "--version").stdout == f"opencode-exporter, version {__version__}\n"


def test_installed_command_reads_a_database(installed: Path, tmp_path: Path) -> None:
    """`once` of the clean environment counts a real recording."""
    database = unpack("2.0.15", tmp_path)
    done = run(installed, "once", f"--source.path={database}")
    assert done.returncode == 0, done.stderr
    assert 'opencode_up{source="opencode.db"} 1.0' in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(installed: Path, shell: str) -> None:
    """Each shell gets a script that asks the command itself."""
    done = run(installed, **{COMPLETE: f"{shell}_source"})
    if shell == "bash" and "not supported" in done.stderr:
        missing("Bash 4.4 or newer is needed for its completion")
    assert (done.returncode, COMPLETE in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("opencode-exporter che", "check"),
        ("opencode-exporter serve --web.l", "--web.listen-address"),
    ],
)
def test_commands_and_flags_are_completed(installed: Path, typed: str, offered: str) -> None:
    """What is typed is completed: commands, and flags with dots."""
    position = str(len(typed.split()) - 1)
    done = run(
        installed, **{COMPLETE: "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": position}
    )
    assert f"plain,{offered}" in done.stdout.splitlines()
