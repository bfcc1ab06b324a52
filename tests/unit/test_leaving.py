"""Which tunnels are released, and when: by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from towline.core.ledger import Ledger, Tunnel
from towline.core.stall import BULK
from towline.leaving import AFTER_RELOAD, ANSWERED_BY, AT_STOP, SHORTEST_PAUSE, Leaving
from towline.net.relay import Relay
from towline.types import Classification, Role, Target

BLOB = Classification("hub", Role.BLOB, "blob.test", "blob host of hub")


@dataclass
class Timer:
    """One call_later."""

    due: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeLoop:
    """A clock that stands until it is moved, and the timers set by it."""

    now: float = 1000.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    @property
    def pending(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def sleep(self, seconds: float) -> None:
        """Move the clock, calling what is due on the way."""
        end = self.now + seconds
        while (due := min(self.pending, key=lambda timer: timer.due, default=None)) is not None and due.due <= end:
            self.timers.remove(due)
            self.now = max(self.now, due.due)
            due.callback()
        self.now = end


@dataclass
class FakeRelay:
    """The counters of a relay; `released` is when it was."""

    loop: FakeLoop
    last_in: float
    last_out: float
    bytes_in: int = 5000
    bytes_out: int = 500
    queued_in: int = 0
    released: list[float] = field(default_factory=list)

    @property
    def last_activity(self) -> float:
        return max(self.last_in, self.last_out)

    def release(self) -> None:
        self.released.append(self.loop.now)


class World:
    """A ledger with tunnels, and what lets go of them."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.ledger = Ledger(started_at=loop.now)
        self.relays: dict[int, FakeRelay] = {}
        self.leaving = Leaving(self.ledger, cast("dict[int, Relay]", self.relays))
        self.began = loop.now

    def race(self) -> Tunnel:
        """A tunnel whose race is under way."""
        return self.ledger.open(Target("blob.test", 443), "127.0.0.1:50000", BLOB, now=self.loop.now)

    def win(self, tunnel: Tunnel, route: str) -> FakeRelay:
        """The race is won."""
        tunnel.route = route
        relay = self.relays[tunnel.id] = FakeRelay(self.loop, self.loop.now, self.loop.now)
        return relay

    def tunnel(self, route: str) -> FakeRelay:
        """A tunnel that relays over `route`, its last byte moved now."""
        return self.win(self.race(), route)

    def end(self, relay: FakeRelay) -> None:
        """The tunnel is over."""
        number = next(number for number, other in self.relays.items() if other is relay)
        del self.relays[number]
        self.ledger.end(self.ledger.tunnels[number], now=0.0)

    def after(self, relay: FakeRelay) -> list[float]:
        """Seconds from the beginning to each release."""
        return [moment - self.began for moment in relay.released]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world on a clock of its own."""
    loop = FakeLoop()
    monkeypatch.setattr("asyncio.get_running_loop", lambda: loop)
    return World(loop)


def test_idle_tunnels_of_a_route_that_left(world: World) -> None:
    """Those silent for two seconds go at once, others as soon as they are; other routes' and new ones stay."""
    old, kept = world.tunnel("vpn"), world.tunnel("direct")
    world.loop.sleep(AFTER_RELOAD - 0.5)
    fresh = world.tunnel("vpn")
    world.loop.sleep(0.5)
    world.leaving.routes(["vpn"])
    new = world.tunnel("vpn")
    assert (world.after(old), fresh.released) == ([AFTER_RELOAD], [])
    world.loop.sleep(60)
    assert world.after(fresh) == [2 * AFTER_RELOAD - 0.5]
    assert (len(old.released), kept.released, new.released) == (1, [], [])


def test_tunnel_at_work_is_left_to_finish(world: World) -> None:
    """It is released two seconds after its last byte, and no sooner."""
    relay = world.tunnel("vpn")
    world.leaving.routes(["vpn"])
    for _ in range(30):
        world.loop.sleep(1.0)
        relay.last_in = world.loop.now
    assert relay.released == []
    world.loop.sleep(AFTER_RELOAD)
    assert world.after(relay) == [30 + AFTER_RELOAD]


def test_layer_that_halts_at_a_reload_has_time_to_go_on(world: World) -> None:
    """After much of an answer silence may be a stall, which the watch over tunnels is to judge; an idle one waits."""
    relay = world.tunnel("vpn")
    relay.bytes_in = BULK
    world.leaving.routes(["vpn"])
    world.loop.sleep(ANSWERED_BY - 1)
    relay.last_in = world.loop.now
    world.loop.sleep(ANSWERED_BY - 1)
    assert relay.released == []
    world.loop.sleep(1)
    assert world.after(relay) == [2 * ANSWERED_BY - 1]


def test_race_that_a_route_wins_after_it_left(world: World) -> None:
    """A request that began before the reload may end up on the route as it was; its tunnel goes too."""
    begun, other = world.race(), world.race()
    world.leaving.routes(["vpn"])
    world.loop.sleep(1.0)
    late, elsewhere = world.win(begun, "vpn"), world.win(other, "direct")
    world.loop.sleep(30)
    assert world.after(late) == [1.0 + AFTER_RELOAD]
    assert elsewhere.released == []


def test_slow_client_is_not_idle(world: World) -> None:
    """Bytes that the client has not taken are a pull under way."""
    relay = world.tunnel("vpn")
    relay.queued_in = 1
    world.leaving.routes(["vpn"])
    world.loop.sleep(60)
    assert relay.released == []
    relay.queued_in = 0
    world.loop.sleep(AFTER_RELOAD)
    assert len(relay.released) == 1


def test_request_gets_time_for_its_answer(world: World) -> None:
    """Where the client spoke last, its answer is waited for; when it has come, idleness counts as ever."""
    lost, answered = world.tunnel("vpn"), world.tunnel("vpn")
    lost.last_out = answered.last_out = world.loop.now + 0.1
    world.leaving.routes(["vpn"])
    world.loop.sleep(10)
    answered.last_in = world.loop.now
    world.loop.sleep(60)
    assert world.after(lost) == [pytest.approx(ANSWERED_BY + 0.1)]
    assert 10 + AFTER_RELOAD <= world.after(answered)[0] <= 10 + 2 * AFTER_RELOAD


def test_upload_is_waited_for(world: World) -> None:
    """A registry that stores what was sent is silent for as long as it takes."""
    relay = world.tunnel("vpn")
    relay.last_out += 0.1
    relay.bytes_out = 10_000_000
    world.leaving.routes(["vpn"])
    world.loop.sleep(60)
    assert relay.released == []


def test_drained_route_until_it_is_resumed(world: World) -> None:
    """Idle tunnels and late winners go as after a reload; what is open when the route is resumed may stay."""
    idle, working, begun = world.tunnel("vpn"), world.tunnel("vpn"), world.race()
    world.leaving.drain("vpn")
    world.loop.sleep(1.0)
    late, working.last_in = world.win(begun, "vpn"), world.loop.now
    world.loop.sleep(1.5)
    assert (world.after(idle), working.released, late.released) == ([AFTER_RELOAD], [], [])
    world.leaving.resume("vpn")
    world.loop.sleep(60)
    assert (working.released, late.released, world.loop.pending) == ([], [], [])


def test_resume_does_not_take_back_a_reload(world: World) -> None:
    """What was opened over the route as it no longer is goes all the same."""
    relay = world.tunnel("vpn")
    world.leaving.routes(["vpn"])
    world.leaving.drain("vpn")
    world.leaving.resume("vpn")
    world.loop.sleep(AFTER_RELOAD)
    assert world.after(relay) == [AFTER_RELOAD]


def test_all_at_a_stop(world: World) -> None:
    """Every route's tunnels go after five seconds of silence, also one that is opened after."""
    idle, working = world.tunnel("direct"), world.tunnel("vpn")
    world.loop.sleep(AT_STOP)
    working.last_in = world.loop.now
    world.leaving.all()
    late = world.race()
    assert (world.after(idle), working.released) == ([AT_STOP], [])
    world.loop.sleep(1.0)
    accepted = world.win(late, "direct")
    world.loop.sleep(30)
    assert world.after(working) == [2 * AT_STOP]
    assert len(accepted.released) == 1


def test_timers_end_with_the_work(world: World) -> None:
    """Nothing is timed where nothing is to go, nor once it has ended, nor after close()."""
    stays = world.tunnel("direct")
    world.leaving.routes(["vpn"])
    assert world.loop.pending == []
    goes = world.tunnel("vpn")
    world.leaving.routes(["vpn"])
    assert len(world.loop.pending) == 1
    world.end(goes)
    world.loop.sleep(AFTER_RELOAD)
    assert (world.loop.pending, stays.released) == ([], [])
    world.leaving.all()
    world.leaving.close()
    assert world.loop.pending == []


def test_looks_are_not_closer_than_the_shortest_pause(world: World) -> None:
    """A tunnel that is due the next moment does not have the loop look over and over."""
    world.tunnel("vpn")
    world.loop.sleep(AFTER_RELOAD - 1e-9)
    world.leaving.routes(["vpn"])
    assert [timer.due - world.loop.now for timer in world.loop.pending] == [pytest.approx(SHORTEST_PAUSE)]
