"""
Runs a probe or the exporter in a process of its own, and watches its memory from outside.

Knows how to start and to read a probe, not what it measures.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Final

_SAMPLE_S: Final = 0.05
_READY: Final = "*/*"
_FORMATS: Final = ("text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0")
_SHARE: Final = re.compile(r"^Pss:\s*(\d+) kB$", re.MULTILINE)


def probe(name: str, source: Path, other: Path | str, seconds: float = 0) -> dict[str, Any]:
    """
    Return what a probe found, with ``memory``, the peak of what it took, bytes.

    That is the process and its children at one moment, pages that they share
    counted once; 0 where the system (any but Linux) does not tell.

    Args:
        name: Which measure of ``probe.py``.
        source: The database.
        other: What the measure takes besides: a ledger, a generation, or a directory.
        seconds: How long it lasts, where that can be chosen.
    """
    arguments = (name, str(source), str(other), str(seconds))
    command = [sys.executable, "-m", "bench.probe", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SAMPLE_S)
        answer = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"The measure {name!r} of {source.name} failed; its reason stands above.")
    found: dict[str, Any] = json.loads(answer)
    return {**found, "memory": peak}


def serve(source: Path, ledger: Path, scrapes: int) -> int:
    """
    Return the most memory that the exporter took while it served a ledger, bytes.

    Args:
        source: The database.
        ledger: What was counted before.
        scrapes: How many pages of each format are asked for.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"127.0.0.1:{free.getsockname()[1]}"
    where = ("--source.path", str(source), "--ledger.path", str(ledger))
    command = [sys.executable, "-m", "opencode_exporter", "serve", *where]
    with subprocess.Popen(
        [*command, "--web.listen-address", target], stderr=subprocess.DEVNULL
    ) as process:
        try:
            peak = 0
            for accept in (_READY, *_FORMATS * scrapes):
                while not _answers(target, accept):
                    if process.poll() is not None:
                        raise SystemExit(f"The exporter does not serve {ledger}.")
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_SAMPLE_S)
                peak = max(peak, _memory(process.pid))
        finally:
            process.terminate()
    return peak


def _answers(target: str, accept: str) -> bool:
    path = "/-/ready" if accept == _READY else "/metrics"
    request = urllib.request.Request(f"http://{target}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # ours
            return bool(answer.read())
    except OSError:
        return False


def _memory(pid: int) -> int:
    """Return the bytes of a process and its children, 0 if nobody tells."""
    directory = Path("/proc", str(pid))
    try:
        found = _SHARE.search((directory / "smaps_rollup").read_text(encoding="ascii"))
        tasks = [*(directory / "task").iterdir()]  # each thread has children of its own
        children = [(task / "children").read_text(encoding="ascii") for task in tasks]
    except OSError:  # ended meanwhile, or no Linux
        return 0
    own = int(found[1]) * 1024 if found else 0
    return own + sum(_memory(int(child)) for child in " ".join(children).split())


def generated(directory: Path, parts: int, generation: str, prose: float = 0) -> Path:
    """Return a database of so many parts, made now if the directory has none."""
    path = directory / f"{generation}-{parts}{'-prose' if prose else ''}.db"
    if path.exists():
        return path
    unfinished = path.with_suffix(".unfinished")
    for left in directory.glob(f"{unfinished.name}*"):
        left.unlink()
    # In another process: what it allocates would count as memory of the probes.
    flags = ["--parts", str(parts), "--generation", generation, "--out", str(unfinished)]
    flags += ["--prose", str(prose)]
    subprocess.run(
        [sys.executable, "-m", "bench.generate", *flags],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return unfinished.rename(path)
