"""
A simulated OpenCode, for ``opencode-exporter demo`` and for tests.

Owns a database that it makes itself, in the schema and the shapes of a real one.
Knows nothing of the exporter: the two meet in the file, as in real life.
"""

from opencode_exporter.demo.rows import Tally
from opencode_exporter.demo.run import SESSIONS_A_DAY, Demo

__all__ = ["SESSIONS_A_DAY", "Demo", "Tally"]
