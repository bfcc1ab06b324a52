"""What a change of the network does: to the routes, to what was learned, and to the tunnels that are open."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from towline import roaming as module
from towline.config import parse, with_offers
from towline.config.changes import Changes
from towline.config.changes import compare as compare_configs
from towline.core.learned import Learned
from towline.core.network import Difference, Interface, Network, WayOut, compare
from towline.core.presence import Presence
from towline.core.stranded import Stranded
from towline.errors import ConfigError, Problem, Refused
from towline.memory import Memory
from towline.net import discover
from towline.net.leg import Way
from towline.net.watch import Change
from towline.remembering import Remembering
from towline.roaming import Roaming
from towline.types import Candidate, Classification, Ranking, Role, RouteSpec, Target
from towline.watching import Watching

TARGET = Target("blobs.test", 443)
BLOB = Classification("hub", Role.BLOB, "blobs.test", "blob host of hub")
HOME_IP, VPN_IP = ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("10.8.0.2")
ETH = Interface("eth0", up=True, addresses=(HOME_IP,), index=2)
WG = Interface("wg0", up=True, addresses=(VPN_IP,), index=3)
BOTH = Network((ETH, WG), (WayOut("eth0", HOME_IP),))
ONLY_ETH, ONLY_WG, NOTHING = replace(BOTH, interfaces=(ETH,)), Network((WG,)), Network()
DEADLINE = 5.0  # seconds within which anything here must have happened


@dataclass
class FakeLeg:
    """A leg, and what was asked of it."""

    way: Way | None
    asked: list[str] = field(default_factory=list)
    calmed: asyncio.Event = field(default_factory=asyncio.Event)

    def hurry(self) -> None:
        self.asked.append("hurry")

    def calm(self) -> None:
        self.asked.append("calm")
        self.calmed.set()


@dataclass(eq=False)
class FakeRelay:
    leg: FakeLeg


@dataclass
class FakeTunnel:
    target: Target = TARGET


@dataclass(eq=False)
class FakeWatched:
    tunnel: FakeTunnel = field(default_factory=FakeTunnel)
    stranded: Stranded | None = None


class World:
    """What the service composed and a watch over tunnels, as far as roaming sees them."""

    def __init__(self, folder: Path) -> None:
        self.presence = Presence()
        text = "routes: {vpn: {interface: wg0}, direct: {}}"
        self.config = parse(text, place="test", base=Path(), environ={}, discovered=())
        self.refused = False
        self.offered: list[tuple[list[str], bool]] = []
        self.doubts = self.wakings = self.excuses = 0
        self.tunnels: list[tuple[FakeWatched, FakeRelay]] = []
        self.learned = Learned()
        self.remembering = Remembering(self.learned, Memory(folder))
        self.roaming = Roaming(self, cast("Watching", self), self.presence, self.remembering)
        self.network: Network | None = None

    def rank(self, target: Target) -> Ranking:
        if self.refused:
            raise Refused(403, "ports", "towline: not any more")  # type: ignore[arg-type]
        return Ranking(target, BLOB, tuple(Candidate(spec.name, 0.1, "", 0.25) for spec in self.config.routes))

    def offer(self, routes: Sequence[RouteSpec], *, anew: bool) -> Changes:
        self.offered.append(([spec.name for spec in routes], anew))
        before, self.config = self.config, with_offers(self.config, routes)
        return compare_configs(before, self.config)

    def doubt(self, routes: Collection[str]) -> None:
        self.doubts += 1
        self.learned.health.clear()

    def under_way(self) -> list[tuple[FakeWatched, FakeRelay]]:
        return list(self.tunnels)

    def strand(self, watched: FakeWatched, stranded: Stranded | None) -> bool:
        """As the real one does with a tunnel at work: released where there is a refuge."""
        watched.stranded = stranded
        gone = stranded is not None and stranded.refuge is not None
        self.tunnels = [(one, relay) for one, relay in self.tunnels if not (gone and one is watched)]
        return gone

    def woke(self) -> None:
        self.wakings += 1

    def excuse(self) -> None:
        self.excuses += 1

    def open(self, way: Way | None) -> tuple[FakeWatched, FakeLeg]:
        """A tunnel that left by this way."""
        watched, relay = FakeWatched(), FakeRelay(FakeLeg(way))
        self.tunnels.append((watched, relay))
        return watched, relay.leg

    def becomes(self, network: Network | None, *, slept: float = 0.0) -> list[dict[str, object]]:
        """The machine's network is this now; gives what was logged."""
        before, self.network = self.network, network
        difference = Difference() if before is None or network is None else compare(before, network)
        with capture_logs() as lines:
            self.roaming.changed(Change(before, network, difference, slept))
        return cast("list[dict[str, object]]", lines)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """At home, with a VPN."""
    world = World(tmp_path)
    world.becomes(BOTH)
    world.offered.clear()
    yield world
    world.roaming.close()


async def test_the_first_look_changes_nothing(world: World) -> None:
    """It is where everything starts from."""
    assert (world.doubts, world.excuses, world.wakings) == (0, 0, 0)
    assert world.roaming.view().ways_out == ("eth0",)
    assert world.roaming.view().changed_seconds_ago is None


async def test_what_goes_by_an_interface_that_went(world: World) -> None:
    """It is released to the route that leads out, what was learned lately is in doubt, and the log says all of it."""
    bound, _ = world.open(Way(VPN_IP, 3))
    from_it, _ = world.open(Way(VPN_IP, 0))
    other, leg = world.open(Way(HOME_IP, 0))
    (line,) = world.becomes(ONLY_ETH)
    assert line["event"] == "network_changed"
    assert (line["what"], line["concerned"], line["released"], line["tested"]) == (["wg0 is gone"], ["vpn"], 2, 0)
    assert bound.stranded == Stranded("the interface that it left by is gone", "direct")
    assert from_it.stranded == Stranded(f"its address {VPN_IP} is gone", "direct")
    assert (other.stranded, leg.asked, world.doubts, world.excuses) == (None, [], 1, 1)
    assert world.roaming.view().changed_seconds_ago == pytest.approx(0.0, abs=1.0)


async def test_held_where_nothing_leads_out_and_freed_when_its_way_is_back(world: World) -> None:
    """The same address again: the tunnel is no longer stranded, and nobody has ended it."""
    watched, _ = world.open(Way(HOME_IP, 0))
    world.becomes(NOTHING)
    assert watched.stranded == Stranded(f"its address {HOME_IP} is gone", None)
    world.becomes(BOTH)
    assert watched.stranded is None
    assert [one for one, _ in world.tunnels] == [watched]


async def test_held_until_another_way_leads_out(world: World) -> None:
    """The address stays lost over several changes; a VPN that comes up is where its client can go."""
    watched, _ = world.open(Way(HOME_IP, 0))
    world.becomes(NOTHING)
    (line,) = world.becomes(ONLY_WG)
    assert watched.stranded == Stranded(f"its address {HOME_IP} is gone", "vpn")
    assert line["released"] == 1


async def test_a_target_that_is_forbidden_by_now_has_no_refuge(world: World) -> None:
    """A reload took its port away: no other route would take it."""
    watched, _ = world.open(Way(VPN_IP, 3))
    world.refused = True
    world.becomes(ONLY_ETH)
    assert watched.stranded == Stranded("the interface that it left by is gone", None)


async def test_tunnels_are_tested_when_packets_leave_elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is made to ask, and lets them be a moment later; one whose way nobody knows is tested too."""
    monkeypatch.setattr(module, "TEST_LASTS", 0.05)
    legs = [world.open(way)[1] for way in (Way(HOME_IP, 0), Way(VPN_IP, 3), None)]
    (line,) = world.becomes(replace(BOTH, ways_out=(WayOut("wg0", VPN_IP),)))
    assert (line["concerned"], line["tested"]) == (["direct"], 3)
    world.becomes(BOTH)
    async with asyncio.timeout(DEADLINE):
        for leg in legs:
            await leg.calmed.wait()
    assert [leg.asked for leg in legs] == [["hurry", "hurry", "calm"]] * 3


async def test_after_a_sleep_everything_is_in_doubt(world: World) -> None:
    """Also where the network is the same, and where it cannot be seen."""
    _, leg = world.open(Way(HOME_IP, 0))
    (line,) = world.becomes(BOTH, slept=3600.0)
    assert (line["what"], line["concerned"]) == (["nothing ran for 3600 s"], ["vpn", "direct"])
    assert (leg.asked, world.wakings, world.doubts) == (["hurry"], 1, 1)
    world.becomes(None, slept=60.0)
    assert (world.wakings, world.doubts, len(world.tunnels)) == (2, 2, 1)
    assert world.roaming.view().ways_out == ()


async def test_what_concerns_nobody_is_not_told(world: World) -> None:
    """A bridge for containers is neither a route nor a way out."""
    bridge = Interface("br-1", up=True, addresses=(ipaddress.ip_address("172.18.0.1"),), index=9)
    assert world.becomes(replace(BOTH, interfaces=(ETH, WG, bridge))) == []
    assert world.doubts == 0


async def test_routes_come_with_what_the_machine_offers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked for at every change and told; after a reload once more, since the network may have moved on."""
    monkeypatch.setattr(discover, "CAN_BIND", True)
    monkeypatch.setattr(os, "environ", {})
    world.config = parse("{}", place="test", base=Path(), environ={}, discovered=())
    assert world.becomes(ONLY_ETH) == []
    (line,) = world.becomes(BOTH)
    assert (line["added"], [spec.name for spec in world.config.routes]) == (("wg0",), ["direct", "wg0"])
    world.roaming.reloaded()
    assert world.offered == [([], False), (["wg0"], False), (["wg0"], False)]
    world.becomes(None, slept=9.0)
    world.roaming.reloaded()
    assert len(world.offered) == 3


async def test_offers_that_cannot_be_taken_stop_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA file that is gone is said; routes are in doubt and tunnels released all the same."""

    def fails(routes: Sequence[RouteSpec], *, anew: bool) -> Changes:
        raise ConfigError([Problem("towline.yaml:7", "routes.work.ca", "no such file", "put it back")])

    monkeypatch.setattr(world, "offer", fails)
    world.open(Way(VPN_IP, WG.index))
    lines = world.becomes(ONLY_ETH)
    said, changed = lines
    assert (said["event"], said["log_level"], said["key"]) == ("offers_not_taken", "error", "routes.work.ca")
    assert (said["place"], said["why"], said["hint"]) == ("towline.yaml:7", "no such file", "put it back")
    assert (changed["event"], changed["released"]) == ("network_changed", 1)
    assert world.doubts == 1


async def test_a_proxy_with_fake_addresses_comes_up(world: World) -> None:
    """Its TUN interface has the guard decide anew: it answers every name with an address that is refused else."""
    tun = Interface("fake0", up=True, addresses=(ipaddress.ip_address("198.18.0.1"),), index=9)
    world.becomes(replace(BOTH, interfaces=(ETH, WG, tun)))
    world.becomes(BOTH)
    assert [anew for _, anew in world.offered] == [True, True]


async def test_each_network_has_its_memory(world: World) -> None:
    """What was learned is kept before it is in doubt, and recalled when the machine is back; the view says so."""
    at_home = world.roaming.view().fingerprint
    now = asyncio.get_running_loop().time()
    world.learned.of("direct", "hub", Role.API).dialed(0.42, now=now)
    world.becomes(replace(BOTH, ways_out=(WayOut("wg0", VPN_IP),)))
    view = world.roaming.view()
    assert view.fingerprint not in {None, at_home}
    assert view.recalled_seconds_ago is None
    assert world.learned.health == {}
    world.becomes(BOTH)
    view = world.roaming.view()
    assert view.fingerprint == at_home
    assert view.recalled_seconds_ago == pytest.approx(0.0, abs=1.0)
    assert world.learned.of("direct", "hub", Role.API).dial.value == pytest.approx(0.42)


async def test_it_watches_the_machine_that_it_runs_on(world: World) -> None:
    """Once it has looked around it knows this machine's own network."""
    await world.roaming.look_around()
    assert world.presence.network is not None
    assert world.presence.network != BOTH
    assert world.presence.network.interface("lo") is not None


async def test_a_look_that_takes_long_holds_nobody_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy serves without it."""
    monkeypatch.setattr(module, "FIRST_LOOK", 0.05)
    go_on = threading.Event()
    monkeypatch.setattr(world.roaming._network, "_read", lambda: (go_on.wait(DEADLINE), NOTHING)[1])
    await world.roaming.look_around()
    assert world.presence.network == BOTH
    go_on.set()
