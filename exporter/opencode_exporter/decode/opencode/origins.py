"""
The origins of OpenCode's rows, by the generation that writes them.

The upgrade to 2.x copies what 1.x has written: what both show counts once.
"""

from __future__ import annotations

from typing import Final

V1: Final = 1
V2: Final = 2
