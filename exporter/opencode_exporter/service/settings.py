"""
Settings: the values of flags, environment and configuration file, frozen, with their defaults.

No default of a setting stands anywhere else: flags show those of `Settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from opencode_exporter.expose.filters import Filters
from opencode_exporter.expose.shown import ProjectNames

History = Literal["count", "skip"]


@dataclass(frozen=True)
class Settings:
    """The settings of one run.  Durations are milliseconds."""

    source_paths: tuple[Path, ...] = ()  # none: where OpenCode has its own
    ledger_path: Path | None = None  # None: in memory
    history: History = "count"
    abandon_after_ms: int = 6 * 3_600_000
    series_limit: int = 2000
    files_top: int = 0  # how many of the most edited files are shown
    since_ms: int = 0  # older events do not count; Unix
    only_project: str = ""  # others do not count; empty: every one
    project_names: ProjectNames = "name"
    filters: Filters = field(default_factory=Filters)
    force_polling: bool = False
    poll_interval_ms: int = 30_000
    listen: tuple[str, ...] = ("127.0.0.1:10777",)
    allowed_hosts: tuple[str, ...] = ()
    telemetry_path: str = "/metrics"
    created_timestamps: bool = False
    web_config: Path | None = None


def state_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Return the directory of the ledger where no other is named."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else home / ".local" / "state") / "opencode-exporter"
