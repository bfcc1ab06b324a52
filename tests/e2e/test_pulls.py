"""Real clients pull a real image over every kind of route, and the far side confirms which route it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.e2e.rig.clients import ContainerClient
from tests.e2e.rig.image import Image
from tests.e2e.rig.process import wait_until
from tests.e2e.rig.registry import API_HOST, AUTH_HOST, BLOB_HOST
from tests.e2e.rig.routes import ROUTE, ROUTE_KINDS, Witnesses
from tests.e2e.rig.towline import StartTowline
from tests.e2e.rig.upstreams import HAS_DANTE
from tests.e2e.rig.world import PROXY_PASSWORD

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

# skopeo is the fastest client and takes every route; the others take one of each family: direct, HTTP proxy, SOCKS.
EVERY_ROUTE = [(kind.name, "skopeo") for kind in ROUTE_KINDS]
ONE_OF_EACH = [(route, name) for name in ("docker", "ctr", "podman") for route in ("direct", "squid", "microsocks")]

ROLES = {API_HOST: "api", AUTH_HOST: "auth", BLOB_HOST: "blob"}


@pytest.mark.parametrize(("route", "name"), EVERY_ROUTE + ONE_OF_EACH)
def test_pull(
    route: str,
    name: str,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
    witnesses: Witnesses,
) -> None:
    """The pull gives the pushed digest, all of its bytes went over the route that was meant, and over no other."""
    if route == "dante" and not HAS_DANTE:
        pytest.skip("Debian 13 has no dante-server; microsocks is the SOCKS5 proxy there")
    kind = ROUTE[route]
    puller = client(name)
    towline = start_towline({kind.name: kind.settings})

    assert puller.pull() == image.digest

    status = {view["name"]: view for view in towline.status()["routes"]}
    assert status[kind.name]["bytes_in"] >= image.size
    tunnels = towline.finish()
    assert {(tunnel["route"], tunnel["registry"]) for tunnel in tunnels} == {(kind.name, "dockerhub")}
    assert {(tunnel["target"], tunnel["role"]) for tunnel in tunnels} == {(f"{h}:443", r) for h, r in ROLES.items()}
    assert sum(tunnel["bytes_in"] for tunnel in tunnels) >= image.size

    # Squid writes a tunnel's line when the tunnel has ended.
    wait_until(lambda: witnesses.seen().get(kind.witness, 0) >= len(tunnels), f"{kind.witness} saw them", timeout=5)
    assert set(witnesses.seen()) == {kind.witness}
    assert PROXY_PASSWORD not in towline.process.output()
