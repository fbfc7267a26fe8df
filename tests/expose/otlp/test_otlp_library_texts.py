"""
The texts of OpenTelemetry and of requests that a link relies on, in each supported version.

No interface of theirs says why something did not arrive, so `otlp.link` reads their lines.
Where another version writes others, the bounds of `pyproject.toml` move only with this test.
"""

from __future__ import annotations

import functools
import json
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from harness.installed import run
from harness.places import ROOT
from harness.real_tools import missing

INSTALLED: Final = ""
SUPPORTED: Final = ("1.43.0", "1.44.0", "1.45.2")
PACKAGES: Final = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-grpc",
)
PROGRAM: Final = Path(__file__).with_name("library_texts.py")
OF_HTTP: Final = "opentelemetry.exporter.otlp.proto.http.metric_exporter: "
OF_GRPC: Final = "opentelemetry.exporter.otlp.proto.grpc.exporter: "

each_version = pytest.mark.parametrize(
    "version",
    [INSTALLED, *(pytest.param(version, marks=pytest.mark.real) for version in SUPPORTED)],
    ids=["installed", *SUPPORTED],
)


@functools.cache
def all_said(version: str, parent: Path) -> Any:
    """Return what a version says, by protocol and situation."""
    path = f"{ROOT / 'exporter'}"
    if version != INSTALLED:  # it stands before the installed one
        folder = parent / version
        uv = Path(sys.executable).with_name("uv")
        if not uv.exists():
            missing("uv is not installed: `make unit` does so")
        words = ("pip", "install", "--quiet", "--python", sys.executable, "--target", folder)
        done = run(uv, *words, *(f"{name}=={version}" for name in PACKAGES))
        if done.returncode:
            missing(f"OpenTelemetry {version} cannot be had: {done.stderr.strip()[-200:]}")
        path = f"{folder}:{path}"
    done = run(sys.executable, PROGRAM, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert version in (INSTALLED, found["version"])
    return found


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where versions are installed."""
    return tmp_path_factory.mktemp("versions")


def said(version: str, parent: Path, protocol: str, situation: str) -> dict[str, Any]:
    """Return what a version says in a situation."""
    found: dict[str, Any] = all_said(version, parent)[protocol][situation]
    return found


@each_version
@pytest.mark.slow
def test_cause_stands_in_a_line_before_the_one_that_says_nothing(
    version: str, parent: Path
) -> None:
    """Over HTTP the last line of a push is about time alone; each try before says why."""
    found = said(version, parent, "http/protobuf", "nobody listens")
    *tries, last = found["lines"]
    assert all(line.startswith(OF_HTTP) and ", retrying in " in line for line in tries)
    assert "due to timeout, max retries or shutdown" in last
    assert found["cause"] == "[Errno 111] Connection refused"


@each_version
@pytest.mark.slow
def test_cause_stands_in_the_last_line_over_grpc(version: str, parent: Path) -> None:
    """The line comes of the logger whose filter is taken away, or a second one would be lost."""
    found = said(version, parent, "grpc", "nobody listens")
    assert all(line.startswith(OF_GRPC) for line in found["lines"])
    assert "Connection refused" in found["cause"]
    assert "retrying" not in found["cause"]


@each_version
@pytest.mark.slow
def test_header_stands_where_it_is_looked_for(version: str, parent: Path) -> None:
    """The text of requests goes on with the header's value: it is known by its beginning."""
    found = said(version, parent, "http/protobuf", "header cannot be sent")
    assert "in header value: 'a\\nb'" in found["lines"][-1]
    assert found["cause"] == "a header has a value that cannot be sent"


@each_version
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_setting_that_is_no_header_is_told_by_one_logger(
    version: str, protocol: str, parent: Path
) -> None:
    """The line holds all that the variable says: it is known by its logger, and replaced."""
    first, told, *_ = said(version, parent, protocol, "header has no value")["lines"]
    assert first.startswith("opentelemetry.util.re: ")
    assert first.endswith(": no sign of a value")
    assert told == "opencode_exporter.expose.otlp.link: OTLP setting is not used"


def test_bounds_are_the_versions_that_are_tried() -> None:
    """The oldest version is the lower bound; what follows the newest is beyond the upper one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["grpc"]]
    major, minor, _ = SUPPORTED[-1].split(".")
    bounds = f">={SUPPORTED[0].removesuffix('.0')},<{major}.{int(minor) + 1}"
    assert set(PACKAGES) == {
        line.removesuffix(bounds) for line in wanted if line.startswith("opentelemetry")
    }
