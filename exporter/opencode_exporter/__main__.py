"""Run the exporter with ``python -m opencode_exporter``."""

from opencode_exporter.commands.cli import main

main()
