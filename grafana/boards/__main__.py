"""`python -m boards`: write every dashboard's JSON; `--check` tells what is stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import exporter, models, overview, skills, tools

FOLDER: Final = Path(__file__).parents[1] / "dashboards"
BUILDERS: Final = (overview.build, skills.build, tools.build, models.build, exporter.build)


def text_of(dashboard: Dashboard) -> str:
    """Return a dashboard as the JSON that Grafana reads."""
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, str]:
    """Return the text of each dashboard's file."""
    dashboards = [build() for build in BUILDERS]
    return {FOLDER / f"{dashboard.uid}.json": text_of(dashboard) for dashboard in dashboards}


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail if a file is not as it should be.")
def main(*, check: bool) -> None:
    """Write the JSON of the dashboards."""
    stale = []
    for path, text in files().items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(path.name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        raise click.ClickException(f"{', '.join(stale)}: stale; `make dashboards` writes them anew")


if __name__ == "__main__":
    main()
