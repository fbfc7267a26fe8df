"""The collector's configuration: every key is a documented one, and the parts fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deploy.collecting import FOLDER, configuration
from deploy.composed import composed
from deploy.rules_reading import ALERTS
from harness.places import DEPLOY
from opencode_exporter.expose.otlp.target import target_of

WAYS = {
    "scraped": ("collector.yaml",),
    "writing": ("collector.yaml", "remote-write.yaml"),
    "secured": ("collector.yaml", "secured.yaml"),
    "traced": ("collector.yaml", "traces.yaml"),
    "all": ("collector.yaml", "remote-write.yaml", "secured.yaml", "traces.yaml"),
}
_PIPELINE = {"receivers": list, "processors": list, "exporters": list}
_LISTENING = {
    "endpoint": str,
    "tls": {"cert_file": str, "key_file": str},
    "auth": {"authenticator": str},
}
DOCUMENTED: dict[str, dict[str, Any]] = {
    "extensions": {
        "health_check": {"endpoint": str},
        "bearertokenauth": {"token": str},
    },
    "receivers": {"otlp": {"protocols": {"grpc": _LISTENING, "http": _LISTENING}}},
    "processors": {
        "memory_limiter": {
            "check_interval": str,
            "limit_percentage": int,
            "spike_limit_percentage": int,
        },
        "transform": {"metric_statements": list},
        "batch": {},
    },
    "exporters": {
        "prometheus": {"endpoint": str, "metric_expiration": str},
        "otlp_http": {"endpoint": str},
        "prometheusremotewrite": {
            "endpoint": str,
            "headers": {"X-Scope-OrgID": str, "THANOS-TENANT": str},
            "remote_write_queue": {"num_consumers": int},
        },
    },
    "service": {
        "extensions": list,
        "pipelines": {"metrics": _PIPELINE, "traces": _PIPELINE},
    },
}
"""The settings in use, as the documentation of each component has them, and their types."""
each_way = pytest.mark.parametrize("names", WAYS.values(), ids=WAYS)


def strange(found: dict[str, Any], documented: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the settings that are not documented, or not of the type that they should have."""
    for key, value in found.items():
        known = documented.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            yield from strange(value, known, f"{path}{key}.")
        elif not isinstance(known, type) or not isinstance(value, known):
            yield f"{path}{key}"


@pytest.mark.real
def test_the_pinned_image_is_the_one_that_the_page_runs() -> None:
    """The command for a team starts the version that the stack has."""
    image = composed("fleet.env")["services"]["otel-collector"]["image"]
    assert f"  {image} \\\n" in (DEPLOY / "README.md").read_text("utf-8")


@each_way
def test_every_setting_is_documented(names: tuple[str, ...]) -> None:
    """A key that a component does not know would keep the collector from starting."""
    assert list(strange(configuration(*names), DOCUMENTED)) == []
    mistaken = {"receivers": {"otlp": {"protocols": {"grpc": {"endpoints": ""}}}}}
    assert list(strange(mistaken, DOCUMENTED)) == ["receivers.otlp.protocols.grpc.endpoints"]


@each_way
def test_what_is_defined_is_used_and_the_other_way_round(names: tuple[str, ...]) -> None:
    """Each component in a pipeline is there; who writes leaves only `prometheus` unused."""
    config = configuration(*names)
    pipelines = config["service"]["pipelines"].values()
    unused = {}
    for kind in ("receivers", "processors", "exporters", "extensions"):
        users = [config["service"]] if kind == "extensions" else pipelines
        used = {name for user in users for name in user[kind]}
        assert used <= set(config[kind])
        unused[kind] = set(config[kind]) - used
    assert set().union(*unused.values()) == (
        {"prometheus"} if "remote-write.yaml" in names else set()
    )


@each_way
def test_memory_is_limited_first_and_batches_are_made_last(names: tuple[str, ...]) -> None:
    """A push that there is no room for is refused before any work is done on it."""
    for pipeline in configuration(*names)["service"]["pipelines"].values():
        processors = pipeline["processors"]
        assert (processors[0], processors[-1]) == ("memory_limiter", "batch")


def test_scopes_become_no_labels() -> None:
    """On every series they would begin new ones at each update of the exporter."""
    statements = configuration("collector.yaml")["processors"]["transform"]["metric_statements"]
    assert statements == ['set(scope.name, "")', 'set(scope.version, "")']


def test_secured_means_every_protocol() -> None:
    """Over gRPC as over HTTP: a certificate, and a token of an extension that runs."""
    config = configuration(*WAYS["secured"])
    for protocol in config["receivers"]["otlp"]["protocols"].values():
        assert set(protocol) == {"endpoint", "tls", "auth"}
        assert protocol["auth"]["authenticator"] in config["service"]["extensions"]


def test_every_variable_has_a_default_and_is_explained() -> None:
    """The token alone has none: with an empty one the collector must not start."""
    for path in sorted(FOLDER.glob("*.yaml")):
        text = path.read_text("utf-8")
        explained = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        for name, default in re.findall(r"\$\{env:(\w+)(?::-([^}]+))?\}", text):
            assert default or name == "OTLP_TOKEN"
            assert name in explained
        assert len(re.findall(r"\$\{", text)) == len(re.findall(r"\$\{env:\w+(?::-[^}]+)?\}", text))


def seconds(duration: str) -> int:
    """Return a duration such as 5m."""
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def test_what_stopped_coming_goes_before_an_alert_takes_it_for_a_hanging_poll() -> None:
    """Some pushes may fail; what stands still is gone before OpenCodeExporterStale looks at it."""
    kept_s = seconds(
        configuration("collector.yaml")["exporters"]["prometheus"]["metric_expiration"]
    )
    target = target_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"})
    [stale] = [rule.said["expr"] for rule in ALERTS if rule.name == "OpenCodeExporterStale"]
    [window] = re.findall(r"changes\(\w+\[(\w+)\]\)", stale)
    assert target
    assert 4 * target.interval_s < kept_s < seconds(window)


@pytest.mark.real
def test_ports_are_those_that_others_use() -> None:
    """Exporters push where it listens, and Prometheus scrapes where it shows."""
    config, services = configuration("collector.yaml"), composed("fleet.env")["services"]
    protocols = config["receivers"]["otlp"]["protocols"]
    listening = [protocols["grpc"], protocols["http"], config["extensions"]["health_check"]]
    ports = [one["endpoint"].rpartition(":")[2] for one in listening]
    published = [
        port.split(":")[-1].removesuffix("/tcp") for port in services["otel-collector"]["ports"]
    ]
    assert published == ports == ["4317", "4318", "13133"]
    push = services["exporter-ada"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert push.endswith(f":{ports[1]}")
    targets = DEPLOY / "prometheus" / "targets" / "fleet" / "collectors.yml"
    [group] = yaml.safe_load(targets.read_text("utf-8"))
    shown = config["exporters"]["prometheus"]["endpoint"].rpartition(":")[2]
    assert group["targets"] == [f"otel-collector:{shown}"]


@pytest.mark.real
def test_collector_starts_with_the_committed_file() -> None:
    """Its command names a file in the folder that is mounted there."""
    service = composed("fleet.env")["services"]["otel-collector"]
    [volume] = service["volumes"]
    assert volume.split(":") == [str(FOLDER), "/etc/otel-collector", "ro"]
    assert service["command"] == ["--config=/etc/otel-collector/collector.yaml"]


def test_prometheus_takes_job_and_instance_from_the_push() -> None:
    """The scrape of the collector keeps the labels of the exporters, and has its own job."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    honouring = [job["job_name"] for job in config["scrape_configs"] if job.get("honor_labels")]
    assert honouring == ["otel-collector"]
