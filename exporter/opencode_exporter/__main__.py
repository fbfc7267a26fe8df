"""Run the exporter with ``python -m opencode_exporter``."""

from opencode_exporter.cli import main

main()
