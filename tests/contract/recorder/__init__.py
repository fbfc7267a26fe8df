"""
A recorder of OpenCode: real binaries, a scripted model, genuine databases.

It makes the recordings of `tests/contract/recordings` and serves live tests, which let
the exporter watch `Sandbox.database` while a scene is played.
It knows nothing about the exporter.
"""

from contract.recorder import scenes
from contract.recorder.binaries import VERSIONS, Binary, find
from contract.recorder.dialect import Dialect
from contract.recorder.model import ScriptedModel
from contract.recorder.opencode import Running, Sandbox, wait_for
from contract.recorder.script import Call, Issued, Scene, Step
from contract.recorder.server import Server

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
