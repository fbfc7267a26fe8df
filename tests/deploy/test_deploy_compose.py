"""The compose stack: what each way to start it comes to, and that every mount leads somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.composed import composed
from harness.places import DEPLOY, ROOT

TARGETS = DEPLOY / "prometheus" / "targets"
WAYS = {".env": "host", "linux.env": "linux", "demo.env": "demo", "fleet.env": "fleet"}
SERVERS = {"prometheus", "alertmanager", "grafana"}
UNCHECKED = {"otel-collector": "its image has no second program that could ask the first"}
"""Services without a health check, and why."""
_PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+")


def settings(env: str) -> dict[str, str]:
    """Return the variables of an env file."""
    lines = (DEPLOY / env).read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and line[0] != "#")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Return the services, all of which are in the file whatever the way."""
    found: dict[str, Any] = composed(".env")["services"]
    return found


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield source, target and whether it is read-only, of each volume of a service."""
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            source, target, mode = volume.split(":")
            yield source, target, mode == "ro"
        else:
            yield volume["source"], volume["target"], volume.get("read_only", False)


@pytest.mark.real
@pytest.mark.parametrize("env", WAYS)
def test_each_way_is_a_valid_stack(env: str) -> None:
    """Docker Compose takes the file with each env file, and the targets are those of the way."""
    prometheus = composed(env)["services"]["prometheus"]
    chosen = {target: source for source, target, _ in mounts(prometheus)}
    assert chosen["/etc/prometheus/targets"] == str(TARGETS / WAYS[env])


def started(services: dict[str, Any], env: str) -> dict[str, Any]:
    """Return the services that an env file starts."""
    profile = settings(env).get("COMPOSE_PROFILES")
    return {
        name: service
        for name, service in services.items()
        if not service.get("profiles") or profile in service["profiles"]
    }


def hosts(way: str, name: str) -> list[str]:
    """Return the hosts that a file of targets names."""
    groups = yaml.safe_load((TARGETS / way / name).read_text("utf-8"))
    return [target.partition(":")[0] for group in groups for target in group["targets"]]


@pytest.mark.real
@pytest.mark.parametrize("env", [env for env, way in WAYS.items() if way != "fleet"])
def test_each_way_starts_its_exporter(env: str, services: dict[str, Any]) -> None:
    """The profile of an env file starts one exporter, which is scraped; the host's starts none."""
    [host] = hosts(WAYS[env], "exporters.yml")
    assert hosts(WAYS[env], "collectors.yml") == []
    assert set(started(services, env)) - SERVERS == {host} - {"host.docker.internal"}
    assert set(started(services, env)) >= SERVERS
    names = services["prometheus"]["extra_hosts"]
    assert names == ["host.docker.internal:host-gateway"]


@pytest.mark.real
def test_a_fleet_pushes_to_a_collector_that_is_scraped(services: dict[str, Any]) -> None:
    """Two exporters, one of each generation, have names of their own and no port."""
    running = started(services, "fleet.env")
    [collector] = hosts("fleet", "collectors.yml")
    assert hosts("fleet", "exporters.yml") == []
    pushing = [running[name] for name in set(running) - SERVERS - {collector}]
    environments = [service["environment"] for service in pushing]
    assert {one["OTEL_RESOURCE_ATTRIBUTES"] for one in environments} == {
        "service.instance.id=ada",
        "service.instance.id=grace",
    }
    assert {one["OTEL_EXPORTER_OTLP_ENDPOINT"] for one in environments} == {
        f"http://{collector}:4318"
    }
    assert {one["OTEL_SERVICE_NAME"] for one in environments} == {"opencode"}
    assert {service["command"][-1] for service in pushing} == {
        "--demo.generation=v1",
        "--demo.generation=v2",
    }
    assert not any(service.get("ports") for service in pushing)


def test_simulations_share_nothing_with_the_rest() -> None:
    """Their volumes are of other projects, so that no invented number is among real ones."""
    projects = {env: settings(env)["COMPOSE_PROJECT_NAME"] for env in WAYS}
    assert projects["linux.env"] == projects[".env"]
    assert len(set(projects.values())) == len(projects) - 1


@pytest.mark.real
def test_every_image_has_an_exact_version(services: dict[str, Any]) -> None:
    """An image is pinned to a release, or built from this repository, whose base is pinned."""
    for name, service in services.items():
        if "build" in service:
            context = Path(service["build"]["context"])
            dockerfile = context / service["build"]["dockerfile"]
            assert context == ROOT
            [base] = re.findall(r"^ARG BASE=(.+)$", dockerfile.read_text("utf-8"), re.MULTILINE)
            assert _PINNED.match(base), base
        else:
            assert _PINNED.fullmatch(service["image"]), name


@pytest.mark.real
def test_every_service_is_confined(services: dict[str, Any]) -> None:
    """Loopback only, no root, no capability, a read-only root, a health check, a restart."""
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        assert service["read_only"] is True, name
        assert int(service["user"].partition(":")[0]) > 0, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert ("healthcheck" in service) == (name not in UNCHECKED), name
        assert name in UNCHECKED or service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name


@pytest.mark.real
def test_every_mount_leads_somewhere(services: dict[str, Any]) -> None:
    """What is mounted from the repository is in it and read-only; the rest are named volumes."""
    volumes = composed(".env")["volumes"]
    home = {str(Path.home() / ".local/share/opencode"), str(Path.home() / ".config/opencode")}
    for name, service in services.items():
        for source, target, read_only in mounts(service):
            if "/" not in source:
                assert source in volumes, name
                assert not read_only
                continue
            assert read_only, f"{name}: {target}"
            assert source in home or (
                Path(source).is_relative_to(ROOT) and Path(source).exists()
            ), f"{name}: {source}"


@pytest.mark.real
def test_prometheus_keeps_two_years(services: dict[str, Any]) -> None:
    """Its data is on its volume, and its configuration is the committed one."""
    command = services["prometheus"]["command"]
    places = {target: source for source, target, _ in mounts(services["prometheus"])}
    flags = dict(word.split("=", 1) for word in command)
    assert flags["--storage.tsdb.retention.time"] == "2y"
    assert places[flags["--storage.tsdb.path"]] == "prometheus"
    config = Path(flags["--config.file"])
    assert (Path(places[str(config.parent)]) / config.name).is_file()


def test_every_way_has_the_same_targets() -> None:
    """Each folder of targets has the files that prometheus.yml names, and no other."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
    named = set(re.findall(r"targets/(\w+\.yml)\]", text))
    folders = sorted(TARGETS.iterdir())
    assert [folder.name for folder in folders] == ["demo", "fleet", "host", "linux", "native"]
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == named
        for path in folder.iterdir():
            assert all(group["targets"] for group in yaml.safe_load(path.read_text("utf-8")))


@pytest.mark.real
def test_grafana_finds_its_dashboards(services: dict[str, Any]) -> None:
    """The provider looks where the dashboards are mounted, and the home page is one of them."""
    grafana = services["grafana"]
    places = {target: Path(source) for source, target, _ in mounts(grafana)}
    provisioning = places["/etc/grafana/provisioning/dashboards"]
    [provider] = yaml.safe_load((provisioning / "opencode.yml").read_text("utf-8"))["providers"]
    mounted = provider["options"]["path"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == mounted
    assert (places[mounted] / home.name).is_file()


@pytest.mark.real
def test_dashboards_find_their_data_source(services: dict[str, Any]) -> None:
    """Each dashboard chooses among Prometheus sources, the default of which is the provisioned."""
    places = {target: Path(source) for source, target, _ in mounts(services["grafana"])}
    folder = places["/etc/grafana/provisioning/datasources"]
    sources = yaml.safe_load((folder / "prometheus.yml").read_text("utf-8"))["datasources"]
    [default] = [source for source in sources if source.get("isDefault")]
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert (default["uid"], default["type"]) == ("prometheus", "prometheus")
    assert default["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    for source in sources:
        host, port = source["url"].removeprefix("http://").split(":")
        assert services[host]["ports"][0].split(":")[-1] == f"{port}/tcp"
    for path in (ROOT / "grafana" / "dashboards").glob("*.json"):
        variables = json.loads(path.read_text("utf-8"))["templating"]["list"]
        asked = [one["query"] for one in variables if one["type"] == "datasource"]
        assert asked == [default["type"]], path.name


@pytest.mark.real
def test_grafana_asks_nobody_and_changes_nothing(services: dict[str, Any]) -> None:
    """
    Anonymous people look on, and nothing is fetched at the start.

    An update of the bundled Prometheus plugin would end it and fail on the read-only
    file system (grafana/grafana issue 132528): every panel would be empty.
    """
    environment = services["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    for name in ("PLUGINS_PREINSTALL_AUTO_UPDATE", "ANALYTICS_REPORTING_ENABLED"):
        assert environment[f"GF_{name}"] == "false"
    for name in ("UPDATES", "PLUGIN_UPDATES"):
        assert environment[f"GF_ANALYTICS_CHECK_FOR_{name}"] == "false"


@pytest.mark.real
def test_the_containers_check_is_the_images(services: dict[str, Any]) -> None:
    """The exporter's health check in the compose file is the one of the Dockerfile."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    [check] = re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", text, re.MULTILINE)
    ours = [service for service in services.values() if "build" in service]
    assert len(ours) == 4
    for service in ours:
        assert service["healthcheck"]["test"] == ["CMD", *json.loads(check)]
