"""Decode: rows of both generations become events; pure."""
