"""Decode: rows of every agent become events; pure."""
