"""Prometheus exporter for OpenCode: every skill and tool invocation, counted exactly once."""

__version__ = "0.1.0"
