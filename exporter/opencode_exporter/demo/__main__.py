"""
The demo as a process of its own: ``python -m opencode_exporter.demo --directory D``.

Prints one line when history is written, then works until it is told to end: by
SIGTERM or SIGINT, or by the end of its standard input, which comes when the
process that started it dies.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from opencode_exporter.demo import SESSIONS_A_DAY, Demo

_ENDS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def main() -> None:
    """Write history as the flags say, then work on until told to end."""
    parser = argparse.ArgumentParser(prog="python -m opencode_exporter.demo", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where to put opencode.db")
    parser.add_argument("--generation", choices=("v1", "v2"), default="v2")
    parser.add_argument("--history-days", type=float, default=3)
    parser.add_argument("--pace", type=float, default=1, help="1 is a few calls a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions-a-day", type=float, default=SESSIONS_A_DAY)
    flags = parser.parse_args()
    stop, is_ready = threading.Event(), threading.Event()
    # Waited for by a thread: a handler that sets an event may meet us while we wait for it,
    # and would wait for ever itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    threading.Thread(target=_until_told, args=(stop, is_ready), daemon=True).start()
    threading.Thread(target=_until_orphaned, daemon=True).start()
    demo = Demo(
        flags.directory,
        generation=flags.generation,
        history_days=flags.history_days,
        pace=flags.pace,
        seed=flags.seed,
        sessions_a_day=flags.sessions_a_day,
    )
    ended = demo.create().rows.total()
    is_ready.set()
    print(f"ready {ended}", flush=True)  # noqa: T201  # the parent waits for it
    demo.run(stop)


def _until_told(stop: threading.Event, is_ready: threading.Event) -> None:
    signal.sigwait(_ENDS)
    if not is_ready.is_set():
        os._exit(0)  # the past that is being written may be long
    stop.set()


def _until_orphaned() -> None:
    # Not sys.stdin: a thread that reads it holds its lock when the process ends.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stream:
        while stream.read(4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
