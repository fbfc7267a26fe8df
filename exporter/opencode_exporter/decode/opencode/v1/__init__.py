"""Rows of OpenCode 1.x: a message and its parts."""
