"""A bad best route costs a pull nothing but a moment, and when nothing works the user is told so in one line."""

from __future__ import annotations

import re
import ssl
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.rig.certificates import Authority
from tests.e2e.rig.clients import ContainerClient
from tests.e2e.rig.image import Image
from tests.e2e.rig.registry import API_HOST
from tests.e2e.rig.routes import Witnesses
from tests.e2e.rig.towline import PROXY_ADDRESS, StartTowline
from tests.e2e.rig.world import DEFAULT_LINK, INTERFACE_LINK, LINKS, Fault, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

# `vpn` ranks first: `direct` is handicapped by a second.
VPN_FIRST: dict[str, Any] = {"vpn": {"interface": INTERFACE_LINK}, "direct": {"cost": 1.0}}

# Seconds that a bad best route may hold a CONNECT: a refusal says so at once, silence for failover.attempt_delay.
PAUSE: dict[Fault, float] = {"refuse": 0.0, "swallow": 0.25}
SLACK = 0.5  # seconds for a busy two-core machine
CONNECTS = 5


def connect_seconds(world: World, authority: Authority) -> float:
    """Time from sending a CONNECT to having its 200; the tunnel is then used for a registry's ping, as Docker would."""
    with world.near.connect(PROXY_ADDRESS, timeout=20) as sock:
        began = time.monotonic()
        sock.sendall(f"CONNECT {API_HOST}:443 HTTP/1.1\r\nHost: {API_HOST}:443\r\n\r\n".encode())
        head = sock.recv(4096)
        took = time.monotonic() - began
        assert re.fullmatch(rb"HTTP/1\.1 200 [^\r]*\r\n\r\n", head), head
        context = ssl.create_default_context(cafile=authority.ca)
        with context.wrap_socket(sock, server_hostname=API_HOST) as tls:
            tls.sendall(f"GET /v2/ HTTP/1.0\r\nHost: {API_HOST}\r\n\r\n".encode())
            assert b" 401 " in tls.recv(4096)
            while tls.recv(4096):
                pass
    return took


@pytest.mark.parametrize("kind", ["refuse", "swallow"])
def test_pull_survives_a_bad_best_route(
    kind: Fault,
    world: World,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
    witnesses: Witnesses,
) -> None:
    """The pull goes over the next route, and the log says why it did not take the best one."""
    towline = start_towline(VPN_FIRST)
    with world.fault(kind, INTERFACE_LINK):
        assert client("skopeo").pull() == image.digest
        tunnels = towline.finish()
    assert {tunnel["route"] for tunnel in tunnels} == {"direct"}
    assert tunnels[0]["why"].startswith({"refuse": "vpn: refused", "swallow": "vpn: no answer"}[kind])
    assert all(tunnel["why"] for tunnel in tunnels)
    # The bad route was really tried: its link saw the SYN.
    assert set(witnesses.seen()) == {DEFAULT_LINK, INTERFACE_LINK}


@pytest.mark.parametrize("kind", ["refuse", "swallow"])
def test_a_bad_best_route_costs_at_most_the_attempt_delay(
    kind: Fault,
    world: World,
    authority: Authority,
    start_towline: StartTowline,
) -> None:
    """The slowest CONNECT past a bad best route takes at most the attempt delay more than the usual healthy one."""
    with start_towline(VPN_FIRST) as towline:
        healthy = [connect_seconds(world, authority) for _ in range(CONNECTS)]
        assert {tunnel["route"] for tunnel in towline.finish()} == {"vpn"}
    start_towline(VPN_FIRST)
    with world.fault(kind, INTERFACE_LINK):
        faulty = [connect_seconds(world, authority) for _ in range(CONNECTS)]
    usual, slowest = statistics.median(healthy), max(faulty)
    print(f"CONNECT: {usual:.4f} s healthy, {slowest:.4f} s past a route that would {kind}")  # noqa: T201 - for -s
    assert slowest <= usual + PAUSE[kind] + SLACK


@pytest.mark.parametrize("kind", ["refuse", "swallow"])
def test_docker_shows_why_no_route_worked(
    kind: Fault, world: World, client: Callable[[str], ContainerClient], start_towline: StartTowline
) -> None:
    """With every route dead, `docker pull` prints Towline's own line: each route, how it ended, and what to run."""
    start_towline(VPN_FIRST)
    with world.fault(kind, *LINKS):
        failed = client("docker").try_pull()
    assert failed.returncode != 0
    phrase = re.search(r"towline: no route to .*", failed.stderr)
    assert phrase, failed.stderr
    assert len(phrase[0]) < 200
    how = {"refuse": "refused", "swallow": "timeout"}[kind]
    pattern = rf"towline: no route to {API_HOST} \(vpn: {how}.*; direct: {how}.*\) - towline explain {API_HOST}"
    assert re.fullmatch(pattern, phrase[0])
