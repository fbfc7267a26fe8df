"""Commands, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.markers import demand_time


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that knows nothing of this checkout."""
    demand_time()
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env={**kept, **variables}
    )
