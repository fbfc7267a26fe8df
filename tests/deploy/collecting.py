"""
What the collector of deploy/ shows of pushes, by its configuration and the published rules.

No collector runs here: its files are read, merged as it merges them, and what they tell it
to do to scopes is done. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

from harness.exporters import Labels
from harness.otlp.published_rules import Samples, add_metric, attributes_of
from harness.places import DEPLOY

FOLDER: Final = DEPLOY / "otel-collector"
_EMPTIED: Final = re.compile(r'set\(scope\.(name|version), ""\)')


def configuration(*names: str) -> dict[str, Any]:
    """Return what files given one after the other come to; a list replaces a list."""
    merged: dict[str, Any] = {}
    for name in names:
        _merge(merged, yaml.safe_load((FOLDER / name).read_text("utf-8")))
    return merged


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def collected(config: dict[str, Any], *bodies: ExportMetricsServiceRequest) -> Samples:
    """Return the samples that the collector shows of requests, `job` and `instance` included."""
    samples: Samples = {}
    for body in bodies:
        for of_resource in body.resource_metrics:
            _show(samples, of_resource, _emptied(config))
    return {(name, _as_go_writes(labels)): value for (name, labels), value in samples.items()}


def _emptied(config: dict[str, Any]) -> set[str]:
    """Return the fields of scopes that the processors of the pipeline empty."""
    used = config["service"]["pipelines"]["metrics"]["processors"]
    statements = [
        statement
        for name in used
        for statement in (config["processors"][name] or {}).get("metric_statements", [])
    ]
    found = [_EMPTIED.fullmatch(statement) for statement in statements]
    return {match[1] for match in found if match}


def _show(samples: Samples, of_resource: ResourceMetrics, emptied: set[str]) -> None:
    attributes = attributes_of(of_resource.resource.attributes)
    target = {
        "job": "/".join(
            attributes[name] for name in ("service.namespace", "service.name") if name in attributes
        ),
        "instance": attributes["service.instance.id"],
    }
    for of_scope in of_resource.scope_metrics:
        scope = {"name": of_scope.scope.name, "version": of_scope.scope.version}
        said = {
            f"otel_scope_{field}": text
            for field, text in scope.items()
            if text and field not in emptied
        }
        for metric in of_scope.metrics:
            add_metric(samples, metric, **target, **said)


def _as_go_writes(labels: Labels) -> Labels:
    """Return labels with the edge of a bucket as the collector writes it: `1`, not `1.0`."""
    return frozenset(
        (name, value.replace("inf", "+Inf").removesuffix(".0") if name == "le" else value)
        for name, value in labels
    )
