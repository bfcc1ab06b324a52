"""The machine's network changes under a running Towline: interfaces come and go, addresses change, all of it sleeps."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.rig.clients import HUB_REFERENCE, ContainerClient
from tests.e2e.rig.image import LAYERS, Image
from tests.e2e.rig.process import run
from tests.e2e.rig.towline import StartTowline, Towline
from tests.e2e.rig.world import DEFAULT_LINK, INTERFACE_LINK, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PROMPT = 3.0  # seconds after a change within which the next pull starts on a living route
SETTLED = PROMPT + 1.0  # seconds within which a change that follows close upon another is acted upon
STOPPED = 8.0  # seconds: longer than silence that would be a stall, and than a timer may be late
LINK_MEGABITS = 150  # the 128 MiB take 7 s
SLOW_MEGABITS = 80  # the same take 13 s
PULL_SECONDS = 60.0
VPN = "wg0"


class Vpn:
    """A link with the name of a WireGuard one; `up` and `down` leave what wg-quick leaves."""

    def __init__(self, world: World) -> None:
        self._world = world

    def up(self, *, megabits: int | None = None) -> None:
        """Make it, with the far side sending so much at most."""
        near, far = self._world.near, self._world.far
        veth = ["ip", "link", "add", VPN, "netns", str(near.pid), "type", "veth"]
        run([*veth, "peer", "name", "vpn9", "netns", str(far.pid)], env=near.env)
        if megabits is not None:
            limit = ("tbf", "rate", f"{megabits}mbit", "burst", "64k", "latency", "50ms")
            far.run("tc", "qdisc", "add", "dev", "vpn9", "root", *limit)
        far.run("ip", "address", "add", "10.77.9.2/24", "dev", "vpn9")
        far.run("ip", "link", "set", "vpn9", "up")
        near.run("ip", "address", "add", "10.77.9.1/24", "dev", VPN)
        near.run("ip", "link", "set", VPN, "up")
        near.run("ip", "route", "add", "default", "via", "10.77.9.2", "dev", VPN, "metric", "900")

    def down(self) -> None:
        """Remove it."""
        self._world.near.run("ip", "link", "delete", VPN)


@pytest.fixture
def vpn(world: World) -> Iterator[Vpn]:
    """A VPN that is down, and gone after the test."""
    yield Vpn(world)
    world.near.run_any("ip", "link", "delete", VPN)


@contextmanager
def renumbered(world: World) -> Iterator[None]:
    """The default link gets another address, as by another DHCP lease, and has its old one back at the end."""

    def number(old: str, new: str) -> None:
        world.near.run("ip", "address", "delete", f"{old}/24", "dev", DEFAULT_LINK)
        world.near.run("ip", "address", "add", f"{new}/24", "dev", DEFAULT_LINK)
        world.near.run("ip", "route", "replace", "default", "via", "10.77.1.2", "dev", DEFAULT_LINK)

    number("10.77.1.1", "10.77.1.9")
    try:
        yield
    finally:
        number("10.77.1.9", "10.77.1.1")


def absences(towline: Towline) -> dict[str, str | None]:
    """The routes that it has, each with why it is absent."""
    return {view["name"]: view["absent"] for view in towline.status()["routes"]}


def layers_under_way(towline: Towline, route: str) -> int:
    """Tunnels over a route that have brought a good part of a layer."""
    return sum(
        tunnel["route"] == route and tunnel["role"] == "blob" and tunnel["bytes_in"] > 2**20
        for tunnel in towline.status()["tunnels"]
    )


def layers_left_behind(towline: Towline) -> int:
    """Tunnels with a part of a layer that were released because their way out was gone."""
    released = [record for record in towline.records() if record["event"] == "released"]
    return sum(record["cause"] == "way out gone" and record["bytes_in"] > 2**20 for record in released)


def events(towline: Towline, name: str) -> list[list[str]]:
    """What the log's lines of this event say has happened."""
    return [record.get("what") or [record.get("why", "")] for record in towline.records() if record["event"] == name]


def test_a_vpn_that_comes_and_goes_is_a_route(
    world: World, vpn: Vpn, client: Callable[[str], ContainerClient], image: Image, start_towline: StartTowline
) -> None:
    """Without configured routes an interface becomes one and carries pulls, and it goes with its interface."""
    towline = start_towline(None)
    assert absences(towline) == {"direct": None}
    vpn.up()
    towline.process.wait_until(lambda: VPN in absences(towline), "the VPN is a route", timeout=SETTLED)
    with world.fault("refuse", DEFAULT_LINK):
        assert client("skopeo").pull() == image.digest
    vpn.down()
    towline.process.wait_until(lambda: VPN not in absences(towline), "it is none", timeout=SETTLED)
    assert events(towline, "network_changed") == [["wg0 is up"], ["wg0 is gone"]]
    assert {tunnel["route"] for tunnel in towline.finish()} == {VPN}


@pytest.mark.parametrize("name", ["ctr", "podman"])
def test_interface_removed_under_a_pull(
    name: str,
    vpn: Vpn,
    client: Callable[[str], ContainerClient],
    image: Image,
    start_towline: StartTowline,
) -> None:
    """The pull goes on over the next route within seconds, and the VPN is used again when it is back."""
    puller = client(name)
    vpn.up(megabits=LINK_MEGABITS)
    towline = start_towline({VPN: {"interface": VPN}, "direct": {"cost": 5.0}})
    with puller.start_pull() as pull:
        pull.wait_until(lambda: layers_under_way(towline, VPN) == LAYERS, "layers are under way", timeout=20)
        vpn.down()
        pull.wait_until(lambda: layers_under_way(towline, "direct") > 0, "it goes on", timeout=PROMPT)
        assert absences(towline) == {VPN: f"interface {VPN} is gone", "direct": None}
        assert pull.join(PULL_SECONDS) == 0, pull.output()
    vpn.up()
    towline.process.wait_until(lambda: absences(towline)[VPN] is None, "the VPN is back", timeout=SETTLED)
    assert puller.pull() == image.digest
    assert towline.finish()[-1]["route"] == VPN


def test_address_changes_under_a_pull(
    world: World, client: Callable[[str], ContainerClient], image: Image, start_towline: StartTowline
) -> None:
    """The pull goes on from the new address, over the only route there is, which nobody blames; so does the next."""
    puller = client("ctr")
    towline = start_towline({"direct": {}})
    with world.slowed(DEFAULT_LINK, LINK_MEGABITS), puller.start_pull() as pull:
        pull.wait_until(lambda: layers_under_way(towline, "direct") == LAYERS, "layers are under way", timeout=20)
        with renumbered(world):
            pull.wait_until(lambda: layers_left_behind(towline) == LAYERS, "they are released", timeout=PROMPT)
            pull.wait_until(lambda: layers_under_way(towline, "direct") > 0, "they go on", timeout=PROMPT)
            assert pull.join(PULL_SECONDS) == 0, pull.output()
            assert puller.digest(HUB_REFERENCE) == image.digest
            assert puller.pull() == image.digest
    assert events(towline, "cut") == []
    assert {view["failures"] for view in towline.status()["routes"]} == {0}


def test_stopped_under_a_pull(
    world: World, client: Callable[[str], ContainerClient], image: Image, start_towline: StartTowline
) -> None:
    """After SIGSTOP and SIGCONT the layers go on over the very same tunnels, and the next pull starts at once."""
    puller = client("ctr")
    towline = start_towline({"direct": {}, "vpn": {"interface": INTERFACE_LINK, "cost": 5.0}})
    with world.slowed(DEFAULT_LINK, LINK_MEGABITS), puller.start_pull() as pull:
        pull.wait_until(lambda: layers_under_way(towline, "direct") == LAYERS, "layers are under way", timeout=20)
        towline.process.signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        towline.process.signal(signal.SIGCONT)
        assert pull.join(PULL_SECONDS) == 0, pull.output()
    assert puller.digest(HUB_REFERENCE) == image.digest
    assert puller.pull() == image.digest
    assert [words[0].partition(" for ")[0] for words in events(towline, "network_changed")] == ["nothing ran"]
    assert events(towline, "released") == events(towline, "cut") == []
    assert {tunnel["route"] for tunnel in towline.finish()} == {"direct"}


def test_a_warm_start_knows_the_routes(
    world: World, client: Callable[[str], ContainerClient], image: Image, start_towline: StartTowline, tmp_path: Path
) -> None:
    """What one process has learned of a route, and the next of another, ranks them for the first pull of a third."""
    slow: dict[str, Any] = {"slow": {"interface": INTERFACE_LINK}}
    direct: dict[str, Any] = {"direct": {}}
    state = str(tmp_path / "state")
    with world.slowed(INTERFACE_LINK, SLOW_MEGABITS):
        for routes in (slow, direct):
            with start_towline(routes, state=state, policy={"unlisted": "route"}):
                assert client("skopeo").pull() == image.digest
        towline = start_towline(slow | direct, state=state)
        known = {view["name"]: view["registries"][0] for view in towline.status()["routes"]}
        assert known["slow"]["rate_bytes_per_second"] == pytest.approx(SLOW_MEGABITS * 125_000, rel=0.5)
        assert towline.status()["network"]["recalled_seconds_ago"] is not None
        assert client("skopeo").pull() == image.digest
    blobs = [tunnel["route"] for tunnel in towline.finish() if tunnel["role"] == "blob"]
    assert blobs[0] == "direct"
