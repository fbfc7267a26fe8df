"""Flags: their types, their groups, their defaults in a file, and the settings made of them."""
