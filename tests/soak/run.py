"""Starts the soak from a checkout, whatever the import path is."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    runpy.run_module("soak", run_name="__main__", alter_sys=True)
