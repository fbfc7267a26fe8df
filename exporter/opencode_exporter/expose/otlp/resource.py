"""
The resource: whose metrics these are.

The environment has the last word, by OpenTelemetry's own reading of it.  Without an
instance id that lasts, the series of ten machines would be one.
"""

from __future__ import annotations

import socket

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from opencode_exporter import __version__


def resource_of(instance_id: str, *, host_name: bool) -> Resource:
    """
    Return the resource of this exporter.

    Args:
        instance_id: The ledger's.
        host_name: Whether it says the name of this machine.
    """
    own = {
        "service.name": "opencode-exporter",
        "service.version": __version__,
        "service.instance.id": instance_id,
    }
    if host_name:
        own["host.name"] = socket.gethostname()
    return Resource(own).merge(OTELResourceDetector().detect())
