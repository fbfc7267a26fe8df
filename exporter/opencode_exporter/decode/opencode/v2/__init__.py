"""Rows of OpenCode 2.x: session messages that hold their parts."""
