"""
Fields: which field of `Settings` each flag fills.

A flag shows the default of its field, so that no default is written twice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from opencode_exporter.commands.flags.value_types import duration_text
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.filters import Filters, NameFilter
from opencode_exporter.service.settings import Settings, state_directory
from opencode_exporter.source.locate import home_directory

FIELDS: Final[Mapping[str, str]] = {
    "source_path": "source_paths",
    "history": "history",
    "abandon_after": "abandon_after_ms",
    "labels_series_limit": "series_limit",
    "files_top": "files_top",
    "since": "since_ms",
    "project": "only_project",
    "labels_project": "project_names",
    "watch_force_polling": "force_polling",
    "watch_interval": "poll_interval_ms",
    "web_listen_address": "listen",
    "web_allowed_host": "allowed_hosts",
    "web_telemetry_path": "telemetry_path",
    "web_created_timestamps": "created_timestamps",
    "web_config_file": "web_config",
}
"""The field of each flag, by the flag's variable."""
_DEFAULTS: Final = Settings()


def default_of(variable: str) -> Any:
    """Return the default of a flag's field, as the flag would be given it; None if it has none."""
    if variable not in FIELDS:
        return None
    field = FIELDS[variable]
    value = getattr(_DEFAULTS, field)
    if field.endswith("_ms"):
        return duration_text(value) or None
    return None if value in ((), "") else value


def settings_of(given: Mapping[str, Any], ledger: Path | None) -> Settings:
    """
    Return the settings of a command; a field whose flag it does not have keeps its default.

    Args:
        given: Values of flags by their variables; others than those of settings are passed over.
        ledger: The ledger's path; None keeps it in memory.

    Raises:
        click.UsageError: Filters contradict each other.
    """
    chosen = {
        FIELDS[variable]: value
        for variable, value in given.items()
        if variable in FIELDS and value is not None
    }
    return Settings(ledger_path=ledger, filters=_filters(given), **chosen)


def _filters(given: Mapping[str, Any]) -> Filters:
    kinds = {
        kind: NameFilter(given.get(f"{kind}_include"), given.get(f"{kind}_exclude"))
        for kind in ("tool", "skill")
    }
    try:
        return Filters(**kinds)
    except ConfigError as err:
        raise click.UsageError(str(err)) from err


def ledger_at(named: Path | None) -> Path:
    """Return the ledger's path: as ``--ledger.path`` names it, else in the state directory."""
    return named or state_directory(os.environ, home_directory()) / "ledger.db"
