"""Turns: what the rows of a session say together: turns, skill runs, sessions."""
