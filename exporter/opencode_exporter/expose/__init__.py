"""Expose: what the ledger has published, as pages of Prometheus and points of OTLP."""
