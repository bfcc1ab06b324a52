"""The watch over relaying tunnels: what it looks at, learns before the client can be back, and releases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from structlog.testing import capture_logs
from tests.net.fake_dialer import FakeDialer

from towline import looks, probing
from towline import watching as module
from towline.core.evidence import Carried
from towline.core.ledger import Ledger
from towline.core.policy import StallPolicy
from towline.core.stall import BULK
from towline.core.stranded import Stranded
from towline.core.tls import CLOSE_NOTIFY_13
from towline.net.alive import Alive
from towline.net.dialer import Dialed, Dialer
from towline.net.ends import End
from towline.net.flight import Flown
from towline.net.process import Ends
from towline.net.relay import Relay
from towline.probing import Probing
from towline.types import Candidate, Classification, Ranking, Role, Target
from towline.watched import IDLE, QUIET, Watched
from towline.watching import Watching

TARGET = Target("blobs.test", 443)
BLOB = Classification("hub", Role.BLOB, "blobs.test", "blob host of hub")
ENDS = (("127.0.0.1", 50000), ("127.0.0.1", 3128))
STUCK_AFTER = 0.5  # seconds
DEADLINE = 5.0  # seconds within which anything here must have happened


@dataclass
class FakeRelay:
    """The counters of a relay, and what was asked of it."""

    bytes_in: int = 4 << 20
    bytes_out: int = 600
    last_in: float = 0.0
    last_out: float = 0.0
    queued_in: int = 0
    tail: bytes = b"cut in the middle"
    client_tail: bytes = b"GET /v2/ and more"
    released: asyncio.Event = field(default_factory=asyncio.Event)
    was_reset: bool = False
    when_moving: Callable[[], None] | None = None
    """Whom to call when something moves."""
    delivered: list[Carried] = field(default_factory=list)
    """What upstream delivered, stretch by stretch, still to be taken."""

    @property
    def last_activity(self) -> float:
        return max(self.last_in, self.last_out)

    def take(self, *, known: float | None) -> Carried | None:
        return self.delivered.pop(0) if self.delivered else None

    def call_when_moving(self, callback: Callable[[], None]) -> None:
        self.when_moving = callback

    def release(self) -> None:
        self.released.set()

    def reset(self) -> None:
        self.was_reset = True


class World:
    """A Watching over two routes, of which the test says what is alive."""

    def __init__(self) -> None:
        self.ledger = Ledger(started_at=0.0)
        self.alive: dict[str, bool] = {"direct": True, "vpn": True}
        self.untrusted: set[str] = set()
        self.probed: list[str] = []
        self.dialers: dict[str, FakeDialer] = {route: FakeDialer() for route in self.alive}
        self.watching = Watching(
            self.ledger,
            policy=lambda: StallPolicy(suspect_after=0.02, stuck_after=STUCK_AFTER),
            probing=Probing(
                self.ledger,
                lambda target: Ranking(target, BLOB, tuple(Candidate(route, 0.1, "", 0.25) for route in self.alive)),
                lambda: cast("Mapping[str, Dialer]", self.dialers),
            ),
        )

    async def is_alive(self, target: Target, dialer: Dialer, *, deadline: float, plain: bool) -> Alive:
        """What net/alive.py would find."""
        route = next(name for name, known in self.dialers.items() if known is dialer)
        self.probed.append(route)
        untrusted = route in self.untrusted
        return Alive(ok=self.alive[route], detail="as the test says", seconds=0.0, untrusted=untrusted)

    def open(
        self, relay: FakeRelay, *, tls: bool = True, client: str = "192.0.2.1", target: Target = TARGET
    ) -> Watched:
        """A tunnel over `direct` whose bytes last moved now."""
        now = asyncio.get_running_loop().time()
        relay.last_in = relay.last_in or now
        tunnel = self.ledger.open(target, f"{client}:50000", BLOB, now=now)
        tunnel.route = "direct"
        watched = self.watching.opened(tunnel, client, ENDS)
        flown = Flown("direct", cast("Dialed", None), b"", tls=tls)
        self.watching.relaying(watched, cast("Relay", relay), flown, self.dialers["direct"])
        return watched

    def streak(self, route: str) -> int:
        """What has failed over a route."""
        health = self.ledger.health.get((route, "hub", Role.BLOB))
        return 0 if health is None else health.streak.weight


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Looks come often, probes and processes are the test's."""
    world = World()

    async def nobody(ends: Sequence[Ends]) -> list[str | None]:
        return [None] * len(ends)

    monkeypatch.setattr(looks, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(probing, "is_alive", world.is_alive)
    monkeypatch.setattr(module, "processes_of", nobody)
    yield world
    world.watching.close()


@pytest.mark.parametrize("end", [End.UPSTREAM_RESET, End.UPSTREAM_TIMEOUT, End.UPSTREAM_ERROR, End.UPSTREAM_FIN])
async def test_cut_teaches_at_once(world: World, end: End) -> None:
    """In the middle of an answer each of these is the route's failure, known before the client can be back."""
    watched = world.open(FakeRelay())
    world.watching.ended(watched, end)
    assert world.streak("direct") > 0
    assert world.ledger.totals().failovers["release"] == 1
    assert world.ledger.routes["direct"].last_error == f"{end} after {4 << 20} bytes"


async def test_ordinary_ends_teach_nothing(world: World) -> None:
    """close_notify of either side, a FIN without TLS, the client's own end, our release, an idle connection's end."""
    close_notify = CLOSE_NOTIFY_13 + bytes(19)
    now = asyncio.get_running_loop().time()
    world.watching.ended(world.open(FakeRelay(tail=close_notify)), End.UPSTREAM_FIN)
    world.watching.ended(world.open(FakeRelay(client_tail=close_notify)), End.UPSTREAM_FIN)
    world.watching.ended(world.open(FakeRelay(client_tail=close_notify)), End.UPSTREAM_RESET)
    world.watching.ended(world.open(FakeRelay(), tls=False), End.UPSTREAM_FIN)
    world.watching.ended(world.open(FakeRelay()), End.CLIENT_RESET)
    world.watching.ended(world.open(FakeRelay()), End.RELEASED)
    world.watching.ended(world.open(FakeRelay(last_in=now - 2 * IDLE)), End.UPSTREAM_RESET)
    assert world.streak("direct") == 0
    assert world.ledger.totals().failovers["release"] == 0


async def test_cut_is_passed_on_as_reset_to_those_who_want_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local podman gets RST in place of FIN (clients.md A.8); everybody else keeps the FIN."""
    asked = asyncio.Event()

    async def podman(ends: Sequence[Ends]) -> list[str | None]:
        asked.set()
        return ["podman"] * len(ends)

    monkeypatch.setattr(module, "processes_of", podman)
    relay = FakeRelay(queued_in=1)  # it reads slowly: no silence to act upon
    watched = world.open(relay, client="127.0.0.1")
    async with asyncio.timeout(DEADLINE):
        await asked.wait()
    await asyncio.sleep(0)
    world.watching.ended(watched, End.UPSTREAM_RESET)
    assert relay.was_reset


async def test_dead_route_is_released(world: World) -> None:
    """Silence, a probe that finds the route dead and another alive: released, and the ledger knew before."""
    world.alive["direct"] = False
    relay = FakeRelay()
    with capture_logs() as logs:
        watched = world.open(relay)
        async with asyncio.timeout(DEADLINE):
            await relay.released.wait()
    assert world.probed == ["direct", "vpn"]
    assert world.streak("direct") > 0
    (line,) = [line for line in logs if line["event"] == "released"]
    assert (line["cause"], line["route"], line["to"]) == ("dead route", "direct", "vpn")
    world.watching.ended(watched, End.RELEASED)
    assert world.ledger.totals().failovers["release"] == 1


async def test_certificates_that_only_the_client_trusts(world: World) -> None:
    """Where none is trusted here, who answers at all is alive (Docker's certs.d)."""
    world.alive = {"direct": False, "vpn": False}
    world.untrusted = {"vpn"}
    relay = FakeRelay()
    world.open(relay)
    async with asyncio.timeout(DEADLINE):
        await relay.released.wait()
    assert world.streak("direct") > 0


async def test_certificate_that_is_not_trusted_beside_one_that_is(world: World) -> None:
    """A forged answer is no life: where another route shows the registry itself, this one is dead."""
    world.alive = {"direct": False, "vpn": True}
    world.untrusted = {"direct"}
    relay = FakeRelay()
    with capture_logs() as logs:
        world.open(relay)
        async with asyncio.timeout(DEADLINE):
            await relay.released.wait()
    assert [line["cause"] for line in logs if line["event"] == "released"] == ["dead route"]


async def test_stuck_connection_is_released_over_a_route_that_is_alive(world: World) -> None:
    """Its route is not blamed: the client may come back over it."""
    relay = FakeRelay()
    world.open(relay)
    async with asyncio.timeout(DEADLINE):
        await relay.released.wait()
    assert world.streak("direct") == 0
    assert world.ledger.totals().failovers["release"] == 0, "it may just as well have been idle"


async def test_probe_that_crashes_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in a probe is shown, the tunnel kept, and another probe asked for later."""

    async def crashes(*_: object, **__: object) -> Alive:
        raise ZeroDivisionError

    monkeypatch.setattr(probing, "is_alive", crashes)
    relay = FakeRelay()
    with capture_logs() as logs:
        world.open(relay)
        async with asyncio.timeout(DEADLINE):
            while not any(line["event"] == "probe_crashed" for line in logs):  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.005)
    assert not relay.released.is_set()


async def test_nothing_alive_is_held(world: World) -> None:
    """Where no route answers the tunnel is kept, and every route's state with it."""
    world.alive = {"direct": False, "vpn": False}
    relay = FakeRelay()
    with capture_logs() as logs:
        world.open(relay)
        async with asyncio.timeout(DEADLINE):
            while not any(line["event"] == "probed" for line in logs):  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.005)
    assert not relay.released.is_set()
    assert (world.streak("direct"), world.streak("vpn")) == (0, 0)


async def test_client_that_does_not_read_is_left_alone(world: World) -> None:
    """While bytes wait for the client nothing is asked and nothing is released."""
    world.alive["direct"] = False
    relay = FakeRelay(queued_in=1000)
    world.open(relay)
    for _ in range(10):
        await asyncio.sleep(0.01)
    assert world.probed == []
    assert not relay.released.is_set()


async def test_one_probe_serves_all_tunnels_of_a_host(world: World) -> None:
    """Six layers of one pull: one probe of each route, and all six are released."""
    world.alive["direct"] = False
    relays = [FakeRelay() for _ in range(6)]
    for relay in relays:
        world.open(relay)
    async with asyncio.timeout(DEADLINE):
        for relay in relays:
            await relay.released.wait()
    assert world.probed == ["direct", "vpn"]


async def test_idle_tunnels_go_with_a_dead_route(world: World) -> None:
    """Before the client is back, its idle tunnels to other hosts over the dead route are closed; live ones stay."""
    now = asyncio.get_running_loop().time()
    idle = FakeRelay(bytes_in=5000, last_in=now - 1, last_out=now - 1.1)
    waiting = FakeRelay(bytes_in=5000, last_in=now - 1, last_out=now - 0.5)
    world.open(idle)
    world.open(waiting)
    for _ in range(3):
        await asyncio.sleep(0.01)
    world.alive["direct"] = False
    stalled = FakeRelay()
    world.open(stalled)
    async with asyncio.timeout(DEADLINE):
        await stalled.released.wait()
        await idle.released.wait()
    assert not waiting.released.is_set()


async def test_idle_tunnels_of_its_client_go_with_a_cut_one(world: World) -> None:
    """One that was only just made goes too, once it is plain that no request follows; one that asks stays."""
    now = asyncio.get_running_loop().time()
    fresh = FakeRelay(bytes_in=5000, bytes_out=88, last_in=now, last_out=now)
    asking = FakeRelay(bytes_in=5000, last_in=now, last_out=now)
    world.open(fresh)
    world.open(asking)
    cut = world.open(FakeRelay())
    world.watching.ended(cut, End.UPSTREAM_RESET)
    assert not fresh.released.is_set(), "its request may be on the way"
    asking.last_out = now + QUIET
    async with asyncio.timeout(DEADLINE):
        await fresh.released.wait()
    assert asyncio.get_running_loop().time() - now < 1.0, "before containers/image is back"
    assert not asking.released.is_set()


async def test_tunnels_that_stand_still_together_all_go(world: World) -> None:
    """Once none of them moves, the last one is released with the others, long before a single one would be."""
    moving, *still = relays = [FakeRelay() for _ in range(3)]
    for relay in relays:
        world.open(relay)
    async with asyncio.timeout(DEADLINE):
        while len(world.probed) < 2:
            moving.last_in = asyncio.get_running_loop().time()
            await asyncio.sleep(0.005)
        assert not any(relay.released.is_set() for relay in still)
        began = asyncio.get_running_loop().time()
        for relay in relays:
            await relay.released.wait()
    assert asyncio.get_running_loop().time() - began < STUCK_AFTER


async def test_idle_tunnels_of_its_client_go_with_a_stuck_one(world: World) -> None:
    """Its client is to come back by a CONNECT, not by an idle tunnel over the same route; another's tunnels stay."""
    now = asyncio.get_running_loop().time()
    idle, api, others = (FakeRelay(bytes_in=5000, last_in=now - 1, last_out=now - 1.1) for _ in range(3))
    world.open(idle)
    world.open(api, target=Target("registry-1.docker.io", 443))
    world.open(others, client="192.0.2.2")
    stuck = FakeRelay()
    world.open(stuck)
    async with asyncio.timeout(DEADLINE):
        await stuck.released.wait()
        await idle.released.wait()
        await api.released.wait()
    assert not others.released.is_set()


async def test_client_that_is_back_tells_that_it_was_stuck(world: World) -> None:
    """A stuck tunnel blames nobody until its client returns as one that was interrupted does; then its route is."""
    relay = FakeRelay()
    world.open(relay)
    async with asyncio.timeout(DEADLINE):
        await relay.released.wait()
    assert world.streak("direct") == 0
    world.open(FakeRelay(queued_in=1))
    assert world.streak("direct") > 0
    assert world.ledger.totals().failovers["release"] == 1
    world.open(FakeRelay(queued_in=1))
    assert world.ledger.totals().failovers["release"] == 1, "once is enough"


async def test_client_that_is_back_from_a_later_cut(world: World) -> None:
    """The newest interruption explains its return: the tunnel that seemed stuck before it is blamed for nothing."""
    other, relay = world.open(FakeRelay(queued_in=1)), FakeRelay()
    world.open(relay)
    async with asyncio.timeout(DEADLINE):
        await relay.released.wait()
    world.watching.ended(other, End.UPSTREAM_RESET)
    assert world.ledger.totals().failovers["release"] == 1
    world.open(FakeRelay(queued_in=1))
    assert world.ledger.totals().failovers["release"] == 1


async def test_release_that_the_client_cannot_bear_is_told_once(world: World) -> None:
    """A layer that was cut a moment ago keeps its new tunnel until it has moved enough; the log says so once."""
    world.alive["direct"] = False
    world.watching.ended(world.open(FakeRelay()), End.UPSTREAM_RESET)
    relay = FakeRelay(bytes_in=BULK)
    with capture_logs() as logs:
        world.open(relay)
        async with asyncio.timeout(DEADLINE):
            while not any(line["event"] == "held" for line in logs):  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.005)
        for _ in range(10):
            await asyncio.sleep(0.01)
    assert not relay.released.is_set()
    assert len([line for line in logs if line["event"] == "held" and line["because"] == logs[-1].get("because")]) <= 1


async def test_a_long_tunnel_teaches_before_it_ends(world: World) -> None:
    """What upstream delivered is learned at looks, at the first end, and when all is over."""
    relay = FakeRelay(queued_in=1, delivered=[Carried(4_000_000, 1.0)])
    watched = world.open(relay)
    assert world.ledger.rate("direct", watched.tunnel) is None
    async with asyncio.timeout(DEADLINE):
        while relay.delivered:  # noqa: ASYNC110 - a look has no event
            await asyncio.sleep(0.005)
    assert world.ledger.rate("direct", watched.tunnel) == pytest.approx(4_000_000)
    relay.delivered = [Carried(8_000_000, 1.0), Carried(8_000_000, 1.0)]
    world.watching.ended(watched, End.UPSTREAM_FIN)
    assert len(relay.delivered) == 1
    world.watching.forget(watched)
    assert relay.delivered == []


async def test_idle_tunnel_sleeps_until_it_is_asked(world: World) -> None:
    """It is not looked at, and a request that is not answered is found all the same."""
    now = asyncio.get_running_loop().time()
    relay = FakeRelay(bytes_in=5000, last_in=now - 0.01, last_out=now - 0.02)
    world.open(relay)
    async with asyncio.timeout(DEADLINE):
        while relay.when_moving is None:  # noqa: ASYNC110 - a look has no event
            await asyncio.sleep(0.005)
    assert world.watching._looks._timer is None
    assert world.probed == []
    relay.bytes_out, relay.last_out = 1200, asyncio.get_running_loop().time()
    relay.when_moving()
    async with asyncio.timeout(DEADLINE):
        while not world.probed:  # noqa: ASYNC110 - nor has a probe
            await asyncio.sleep(0.005)


async def test_nothing_to_watch_wakes_nobody(world: World) -> None:
    """When the last tunnel is over there is no timer left."""
    watched = world.open(FakeRelay(queued_in=1))
    assert world.watching._looks._timer is not None
    world.watching.forget(watched)
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert world.watching._looks._timer is None


async def test_stranded_tunnel_is_released_and_nobody_is_blamed(world: World) -> None:
    """In the middle of a layer it goes at once, to a route that leads out: a failover, and no failure."""
    relay = FakeRelay()
    watched = world.open(relay)
    with capture_logs() as logs:
        assert world.watching.strand(watched, Stranded("its address is gone", "vpn"))
    (line,) = [line for line in logs if line["event"] == "released"]
    assert (line["cause"], line["why"], line["to"]) == ("way out gone", "its address is gone", "vpn")
    assert relay.released.is_set()
    assert world.streak("direct") == 0
    assert world.ledger.totals().failovers["release"] == 1
    assert world.watching.under_way() == []


async def test_stranded_tunnel_that_is_idle_needs_no_refuge(world: World) -> None:
    """It is closed without a word; one at work is held where nothing leads out."""
    idle, working = FakeRelay(bytes_in=5000, last_in=1.0), FakeRelay(last_in=1.0)
    watched = [world.open(relay) for relay in (idle, working)]
    for one in watched:
        assert not world.watching.strand(one, None)
    stranded = Stranded("its address is gone", None)
    assert [world.watching.strand(one, stranded) for one in watched] == [True, False]
    assert (idle.released.is_set(), working.released.is_set()) == (True, False)
    assert [one for one, _ in world.watching.under_way()] == [watched[1]]


async def test_nothing_is_judged_by_the_time_of_a_sleep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is far too late finds no silence in the time before it, and a cut found then blames nobody."""
    monkeypatch.setattr(looks, "LOOK_EVERY", 60.0)
    relay = FakeRelay()
    watched, cut = world.open(relay), world.open(FakeRelay(), client="192.0.2.2")
    now = asyncio.get_running_loop().time()
    relay.last_in = now - 60.0
    world.watching._looks._due = now - 50.0
    world.watching.ended(cut, End.UPSTREAM_RESET)
    assert world.streak("direct") == 0
    assert world.ledger.totals().failovers["release"] == 1
    world.watching._looks._look_at_all()
    assert world.probed == []
    assert not relay.released.is_set()
    assert watched in [one for one, _ in world.watching.under_way()]


async def test_cuts_are_excused_for_a_moment_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the network a cut is nobody's fault; later it is its route's again."""
    world.watching.excuse()
    world.watching.ended(world.open(FakeRelay()), End.UPSTREAM_TIMEOUT)
    assert world.streak("direct") == 0
    monkeypatch.setattr(module, "EXCUSED", -1.0)
    world.watching.excuse()
    world.watching.ended(world.open(FakeRelay()), End.UPSTREAM_TIMEOUT)
    assert world.streak("direct") > 0
