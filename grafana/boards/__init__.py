"""The Grafana dashboards, written in Python; `python -m boards` writes their JSON."""
