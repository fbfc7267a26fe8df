"""Counting: events become sums of series; pure."""
