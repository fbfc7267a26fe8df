"""
The container image, built and run for real, without a container engine.

buildah builds `deploy/Dockerfile` in a chroot on a stand-in for the base: a Debian
that debootstrap makes once and the cache keeps, with Python and pip laid out as in
the official image. A container has a network of its own, so that ports, command and
health check are those of the image. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from harness.exporters import Exposed
from harness.places import ROOT
from harness.processes.process import Process
from harness.real_tools import need_root, real_tool

PORT = 10777
STATE = "/var/lib/opencode-exporter"
_SUITE = "bookworm"
_PYTHON = "3.11"  # of that Debian
_PACKAGES = "python3,python3-venv"
# As in the official image; every build copies all of it several times.
_LEFT_OUT = "var/cache/apt var/lib/apt/lists usr/share/doc usr/share/man usr/share/locale"
_NAME = "exporter:test"
# The loopback of a new network is down: SIOCSIFFLAGS with IFF_UP.
_UP = """
import fcntl, socket
fcntl.ioctl(socket.socket(), 0x8914, b"lo".ljust(16, b"\\0") + b"\\1\\0")
"""
_GET = """
import json, sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    answer = opener.open(sys.argv[1], timeout=10)
except urllib.error.HTTPError as refused:
    answer = refused
json.dump([answer.status, answer.read().decode()], sys.stdout)
"""


@dataclass(frozen=True)
class Store:
    """A place of images of its own, apart from those of the machine."""

    directory: Path

    def buildah(self, *words: str) -> list[str]:
        """Return the command line of a buildah command in this store."""
        roots = (f"--root={self.directory / 'root'}", f"--runroot={self.directory / 'run'}")
        return [real_tool("buildah"), *roots, "--storage-driver=vfs", *words]

    def run(self, *words: str) -> str:
        """Run a buildah command to its end and return what it prints."""
        return _run(self.buildah(*words))

    def has(self, image: str) -> bool:
        """Return whether there is an image of that name."""
        names = self.run("images", "--format={{.Name}}:{{.Tag}}").split()
        return f"localhost/{image}" in names


@contextmanager
def built_image() -> Iterator[Image]:
    """Build the image, and remove it when the block ends; the stand-in stays."""
    need_root("building an image in a chroot needs root")
    for tool in ("buildah", "debootstrap", "unshare", "nsenter"):
        real_tool(tool)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    store = Store(cache / "opencode-exporter-tests" / "images")
    store.directory.mkdir(parents=True, exist_ok=True)
    with (store.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _clear(store)  # what a run that was killed has left
        base = _stand_in(store)
        try:
            yield _build(store, base)
        finally:
            _clear(store)


def _clear(store: Store) -> None:
    """Remove all but the stand-in."""
    store.run("rm", "--all")
    if store.has(_NAME):
        store.run("rmi", _NAME)
    store.run("rmi", "--prune", "--force")


def _stand_in(store: Store) -> str:
    recipe = hashlib.sha256(f"{_SUITE} {_PACKAGES} {_LEFT_OUT}".encode()).hexdigest()[:12]
    name = f"stand-in:{recipe}"
    if not store.has(name):
        container = store.run("from", "scratch")
        root = store.run("mount", container)
        for command in (
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, root],
            # The official image has its python3 and pip below /usr/local.
            ["chroot", root, "python3", "-m", "venv", "/usr/local"],
            ["sh", "-c", f"cd '{root}' && rm -rf {_LEFT_OUT}"],
        ):
            _run(command)
        store.run("commit", "--quiet", "--rm", container, name)
    return f"localhost/{name}"


def _build(store: Store, base: str) -> Image:
    wheels = store.directory / "wheels"
    _download(wheels)
    conf = store.directory / "pip.conf"
    conf.write_text("[global]\nno-index = true\nfind-links = /wheels\n", encoding="utf-8")
    store.run(
        *("bud", "--isolation=chroot", "--format=docker", f"--build-arg=BASE={base}"),
        *(f"--volume={conf}:/etc/pip.conf:ro", f"--volume={wheels}:/wheels:ro"),
        *(f"--tag={_NAME}", f"--file={ROOT / 'deploy' / 'Dockerfile'}", str(ROOT)),
    )
    container = store.run("from", f"localhost/{_NAME}")
    # buildah would now and then mount a volume of its own over the one that is given.
    store.run("config", f"--volume={STATE}-", container)
    return Image(store, container, Path(store.run("mount", container)))


def _download(wheels: Path) -> None:
    """
    Let this machine's pip fetch what the build installs.

    It knows where packages come from here; the build still checks every hash.
    """
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requires("hatchling") or ()]
    pins = [f"{name}=={version(name)}" for name in ("hatchling", *names) if _is_installed(name)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", f"--python-version={_PYTHON}", "--no-deps", f"--dest={wheels}"]
    for wanted in (["-r", str(ROOT / "exporter" / "requirements.txt")], pins):
        _run([*pip, *target, *wanted])


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:  # of another Python or system
        return False


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """
    An image as it was built, laid out for running.

    Attributes:
        name: What buildah calls the layout.
        files: Where it lies. All that run share it; what they may write is elsewhere.
    """

    store: Store
    name: str
    files: Path

    @property
    def config(self) -> dict[str, Any]:
        """Return what the image says of itself."""
        found = json.loads(self.store.run("inspect", "--type=image", f"localhost/{_NAME}"))
        config: dict[str, Any] = found["Docker"]["config"]
        return config


class Container(Process):
    """
    A running container: the image's own entry point, user, port and health check.

    Of what it may write only the ledger's directory stays outside of it; the data
    directory is mounted read-only.
    """

    def __init__(
        self, image: Image, directory: Path, *command: str, data: Path, user: str = ""
    ) -> None:
        self._image = image
        self._config = image.config
        words = command or tuple(self._config["Cmd"])
        self.ledger = directory / "ledger"
        run = image.store.buildah(
            *("run", "--isolation=chroot", "--cap-drop=all"),
            f"--volume={data}:/data/opencode:ro",
            f"--volume={self.ledger}:{STATE}",
            *([f"--user={user}"] if user else []),
            *(image.name, "--", *self._config["Entrypoint"], *words),
        )
        shell = f'{sys.executable} -c "$0" && exec "$@"'
        super().__init__(
            ["unshare", "--net", "sh", "-c", shell, _UP, *run], directory / "container.log"
        )

    @property
    def pid(self) -> int:
        """The exporter's process: a chroot has the numbers of the machine."""
        lines = map(json.loads, self.log.splitlines())
        return next(int(line["pid"]) for line in lines if "pid" in line)

    def get(self, path: str) -> tuple[int, str]:
        """Request a path inside the container's network; return status and body."""
        url = f"http://127.0.0.1:{PORT}{path}"
        done = self._inside([sys.executable, "-I", "-c", _GET, url])
        done.check_returncode()
        status, body = json.loads(done.stdout)
        return status, body

    def page(self) -> Exposed:
        """Return the page of metrics as it is served now."""
        return Exposed(self.get("/metrics")[1])

    def health(self) -> int:
        """Return the exit code of the image's health check."""
        kind, *check = self._config["Healthcheck"]["Test"]
        assert kind == "CMD"
        run = ("run", "--isolation=chroot", self._image.name, "--", *check)
        return self._inside(self._image.store.buildah(*run)).returncode

    def stop(self) -> int:
        """Send the image's stop signal, and return the exit code."""
        os.kill(self.pid, getattr(signal, self._config["StopSignal"]))
        return self.wait()

    def launch(self) -> None:
        """Start it with an empty ledger."""
        # As a named volume is new: with the mode that the image gives the directory.
        self.ledger.mkdir()
        self.ledger.chmod((self._image.files / STATE[1:]).stat().st_mode & 0o7777)
        super().launch()

    def is_up(self) -> bool:
        """Return whether it answers."""
        return "listening" in self.log and self.get("/-/healthy")[0] == 200

    def kill(self) -> None:
        """End buildah, which takes what runs inside along; killed, it would leave that."""
        super().stop()

    def _inside(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        network = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]
        return subprocess.run(
            [*network, *command], capture_output=True, text=True, check=False, timeout=60
        )
