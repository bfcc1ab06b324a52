"""Who is looked at, and when."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest
from structlog.testing import capture_logs

from towline import looks as module
from towline.core.ledger import Ledger
from towline.core.releases import Past
from towline.looks import Looks
from towline.net.relay import Relay
from towline.types import Classification, Role, Target
from towline.watched import Watched

TARGET = Target("registry.test", 443)
API = Classification("hub", Role.API, "registry.test", "api host of hub")
ENDS = (("127.0.0.1", 50000), ("127.0.0.1", 3128))
DEADLINE = 5.0  # seconds within which anything here must have happened


@dataclass
class SleepingRelay:
    """Something moves when the test says so."""

    moves: Callable[[], None] = lambda: None

    def call_when_moving(self, callback: Callable[[], None]) -> None:
        """Keep it."""
        self.moves = callback


@dataclass
class World:
    """Tunnels, and what is done at a look at each."""

    ledger: Ledger = field(default_factory=lambda: Ledger(started_at=0.0))
    looked_at: list[Watched] = field(default_factory=list)
    sleeps: int = 0
    at_a_look: Callable[[Watched], None] = lambda _: None
    looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        self.looks = Looks(self.look, self.overslept)

    def overslept(self) -> None:
        """Note it."""
        self.sleeps += 1

    def look(self, watched: Watched) -> None:
        """Note it."""
        self.looked_at.append(watched)
        self.at_a_look(watched)

    def tunnel(self) -> tuple[Watched, SleepingRelay]:
        """One more tunnel, under watch."""
        relay = SleepingRelay()
        watched = Watched(self.ledger.open(TARGET, "192.0.2.1:50000", API, now=0.0), "192.0.2.1", ENDS, Past())
        watched.relay = cast("Relay", relay)
        self.looks.add(watched)
        return watched, relay

    async def looked(self, times: int) -> None:
        """Wait for so many looks more."""
        wanted = len(self.looked_at) + times
        async with asyncio.timeout(DEADLINE):
            while len(self.looked_at) < wanted:  # noqa: ASYNC110 - a look has no event
                await asyncio.sleep(0.002)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Looks come often."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    world = World()
    yield world
    world.looks.close()


async def test_those_that_are_awake_are_looked_at_again_and_again(world: World) -> None:
    """One after the other, round by round."""
    first, second = world.tunnel()[0], world.tunnel()[0]
    await world.looked(4)
    assert world.looked_at[:4] == [first, second] * 2


async def test_one_that_sleeps_is_looked_at_when_something_moves(world: World) -> None:
    """And nothing wakes meanwhile: there is no timer."""
    watched, relay = world.tunnel()
    world.looks.sleep(watched, until=math.inf)
    await asyncio.sleep(0.05)
    assert world.looked_at == []
    assert world.looks._timer is None
    relay.moves()
    await world.looked(2)


async def test_one_that_sleeps_is_looked_at_when_it_is_due(world: World) -> None:
    """At the time that was said, not before, and as one that is awake from then on."""
    watched, _ = world.tunnel()
    due = asyncio.get_running_loop().time() + 0.05
    world.looks.sleep(watched, until=due)
    await world.looked(1)
    assert asyncio.get_running_loop().time() >= due - 0.001
    await world.looked(1)


async def test_the_last_word_counts(world: World) -> None:
    """An alarm that was set before is off, whether it is to sleep on or was woken."""
    watched, relay = world.tunnel()
    soon = asyncio.get_running_loop().time() + 0.01
    world.looks.sleep(watched, until=soon)
    world.looks.sleep(watched, until=math.inf)
    await asyncio.sleep(0.05)
    assert world.looked_at == []
    world.looks.sleep(watched, until=soon + 10.0)
    relay.moves()
    assert world.looks._alarms == {}


async def test_one_that_is_dropped_is_looked_at_no_more(world: World) -> None:
    """Not in the round under way, not when its alarm was due, and not when something moves."""
    first, relay = world.tunnel()
    second, _ = world.tunnel()
    asleep, _ = world.tunnel()
    world.looks.sleep(asleep, until=asyncio.get_running_loop().time() + 0.02)

    def drop_the_others(_: Watched) -> None:
        world.looks.drop(second)
        world.looks.drop(asleep)

    world.at_a_look = drop_the_others
    await world.looked(5)
    assert set(map(id, world.looked_at)) == {id(first)}
    assert list(world.looks) == [first]
    world.looks.sleep(first, until=math.inf)
    world.looks.drop(first)
    relay.moves()
    world.looks.sleep(first, until=0.0)
    looked_at = len(world.looked_at)
    await asyncio.sleep(0.05)
    assert len(world.looked_at) == looked_at


async def test_one_that_is_dropped_while_others_are_gone_through(world: World) -> None:
    """It is left out."""
    first, second = world.tunnel()[0], world.tunnel()[0]
    seen = []
    for watched in world.looks:
        seen.append(watched)
        world.looks.drop(second)
    assert seen == [first]


async def test_a_look_that_crashes_is_shown(world: World) -> None:
    """The others are looked at all the same, and so is this one the next time."""

    def crash(watched: Watched) -> None:
        if watched is first:
            raise ZeroDivisionError

    first, second = world.tunnel()[0], world.tunnel()[0]
    world.at_a_look = crash
    with capture_logs() as logs:
        await world.looked(4)
    assert second in world.looked_at
    assert {line["event"] for line in logs} == {"look_crashed"}
    assert len(logs) >= 2


async def test_close_leaves_no_timer(world: World) -> None:
    """Neither the rounds' nor an alarm's."""
    world.tunnel()
    watched, _ = world.tunnel()
    world.looks.sleep(watched, until=asyncio.get_running_loop().time() + 0.01)
    world.looks.close()
    await asyncio.sleep(0.03)
    assert world.looked_at == []


async def test_looks_that_come_far_too_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once that this process was stopped, before anything is looked at; whoever asks finds out as well."""
    world.tunnel()
    await world.looked(1)
    assert world.sleeps == 0
    world.looks._due -= 60.0
    told_first: list[int] = []
    world.at_a_look = lambda _: told_first.append(world.sleeps)
    await world.looked(2)
    assert told_first[:2] == [1, 1]
    monkeypatch.setattr(module, "LOOK_EVERY", 60.0)
    await world.looked(1)
    world.looks._due -= 120.0
    world.looks.notice_sleep()
    world.looks.notice_sleep()
    assert world.sleeps == 2
