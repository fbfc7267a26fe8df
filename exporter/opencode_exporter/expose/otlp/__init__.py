"""OTLP: snapshots as data points, pushed to a collector."""
