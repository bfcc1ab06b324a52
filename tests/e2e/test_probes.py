"""Probes against Docker Hub in small: by command, and beside a pull that takes another route."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import ContainerClient
from tests.e2e.rig.image import Image
from tests.e2e.rig.process import environment
from tests.e2e.rig.registry import API_HOST, AUTH_HOST, BLOB_HOST
from tests.e2e.rig.routes import ROUTE
from tests.e2e.rig.towline import StartTowline, Towline
from tests.e2e.rig.world import INTERFACE_LINK, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ROUTES = {name: ROUTE[name].settings for name in ("direct", "interface")}
SOON = 20.0  # seconds until what a pull has probed must have been read over as well


def probe(world: World, towline: Towline, host: str) -> tuple[int, list[dict[str, Any]]]:
    """`towline probe HOST --json` as Towline's own user: its exit code and findings."""
    argv = (sys.executable, "-m", "towline", "probe", host, "--json")
    done: subprocess.CompletedProcess[str] = world.near.run_any(*argv, env=environment(towline.home))
    findings: list[dict[str, Any]] = json.loads(done.stdout)["probed"][0]["findings"]
    return done.returncode, findings


def test_a_registry_that_is_well(world: World, authority: Authority, start_towline: StartTowline) -> None:
    """Over each route its API, its token host and its blobs are met, by real servers, and a rate is told."""
    towline = start_towline(ROUTES, ca=authority.ca)
    code, findings = probe(world, towline, API_HOST)
    assert code == 0
    met = {(found["route"], found["target"], found["ok"]) for found in findings}
    assert met == {(route, f"{host}:443", True) for route in ROUTES for host in (API_HOST, AUTH_HOST, BLOB_HOST)}
    assert all(found["rate_bytes_per_second"] for found in findings if found["role"] == "blob")


def test_a_route_that_is_dead(world: World, authority: Authority, start_towline: StartTowline) -> None:
    """It is told from the other; with no route left the exit code says so."""
    towline = start_towline(ROUTES, ca=authority.ca)
    with world.fault("swallow", INTERFACE_LINK):
        code, findings = probe(world, towline, API_HOST)
        assert code == 0
        assert {found["route"] for found in findings if not found["ok"]} == {"interface"}
    code, findings = probe(world, towline, "gone.docker.io")
    assert (code, any(found["ok"] for found in findings)) == (1, False)


def test_a_pull_has_the_other_routes_measured(
    client: Callable[[str], ContainerClient],
    authority: Authority,
    image: Image,
    start_towline: StartTowline,
) -> None:
    """While a pull goes over one route the rate of each is learned; before it, nothing was asked of anybody."""
    towline = start_towline(ROUTES, ca=authority.ca)
    assert towline.status()["probes"]["count"] == 0
    assert client("skopeo").pull() == image.digest
    deadline = time.monotonic() + SOON
    while len(measured := _rated(towline.status())) < len(ROUTES) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert measured == set(ROUTES)
    probes = towline.status()["probes"]
    assert probes["count"] >= len(ROUTES)
    assert 0 < probes["bytes_last_hour"] < probes["limit"]


def _rated(status: dict[str, Any]) -> set[str]:
    """The routes that a rate of Docker Hub's blobs is known of."""
    return {
        route["name"]
        for route in status["routes"]
        for registry in route["registries"]
        if registry["registry"] == "dockerhub" and registry["rate_bytes_per_second"]
    }
