"""
A recorder of OpenCode: real binaries, a scripted model, genuine databases.

It makes the recordings of `tests/recordings` and serves live tests, which let
the exporter watch `Sandbox.database` while a scene is played.
It knows nothing about the exporter.
"""

from recorder import scenes
from recorder.binaries import VERSIONS, Binary, find
from recorder.dialect import Dialect
from recorder.model import ScriptedModel
from recorder.opencode import Running, Sandbox, wait_for
from recorder.script import Call, Issued, Scene, Step
from recorder.server import Server

__all__ = [
    "VERSIONS",
    "Binary",
    "Call",
    "Dialect",
    "Issued",
    "Running",
    "Sandbox",
    "Scene",
    "ScriptedModel",
    "Server",
    "Step",
    "find",
    "scenes",
    "wait_for",
]
