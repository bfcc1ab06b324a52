"""The scenarios: each a trace made from a seed, in the format that any trace has.

The order of the configuration is `direct` first, as people have it. Steady scenarios vary by noise alone; in changing
ones the best route is not always the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random

from tests.bench.policy.noise import Course, Shape, pulls, states, steady
from tests.bench.policy.trace import Line, Network, Request, Trace

from towline.types import Role

HOUR = 3600.0
HUB, GHCR, QUAY = "dockerhub", "ghcr", "quay"

NEAR = Shape(0.03, 0.06, 6e6)  # a good connection to the registry's own continent
VPN = Shape(0.08, 0.15, 2.5e6)
PROXY = Shape(0.15, 0.3, 1e6)
FAR = Shape(0.25, 0.45, 3e5)  # a congested way to another continent


@dataclass(frozen=True, slots=True)
class Scenario:
    """A trace to be made, and whether its best route changes."""

    name: str
    changing: bool
    about: str
    make: Callable[[Random], Iterable[Line]]

    def trace(self, seed: int) -> Trace:
        """The trace for a seed, the same in each run."""
        return Trace.of(self.make(Random(f"{self.name} {seed}")))


SCENARIOS: list[Scenario] = []


def scenario(*, changing: bool) -> Callable[[Callable[[Random], Iterable[Line]]], Callable[[Random], Iterable[Line]]]:
    """Register what makes a scenario; its name is the function's, what it is about its docstring."""

    def register(make: Callable[[Random], Iterable[Line]]) -> Callable[[Random], Iterable[Line]]:
        name = make.__name__.replace("_", "-")
        SCENARIOS.append(Scenario(name, changing, (make.__doc__ or "").rstrip("."), make))
        return make

    return register


def compose(
    rng: Random,
    courses: Mapping[str, Course],
    *,
    hours: float = 1.0,
    registries: tuple[str, ...] = (HUB,),
    pause: float = 60.0,
    changes: tuple[float, ...] = (),
) -> list[Line]:
    """Routes over time, and pulls over them until a little before the end."""
    until = hours * HOUR
    lines: list[Line] = []
    for route, course in courses.items():
        lines += states(rng, route, course, until, changes=changes)
    return [*lines, *pulls(rng, registries, until, pause=pause)]


def switching(changes: Iterable[float], *shapes: Shape | None) -> Course:
    """One shape after the other, the next from each change on; after the last it begins anew."""
    marks = tuple(changes)
    return lambda t: shapes[sum(mark <= t for mark in marks) % len(shapes)]


@scenario(changing=False)
def apart(rng: Random) -> list[Line]:
    """Three routes that are clearly apart, and none of them changes; the configured order is the wrong one."""
    return compose(rng, {"direct": steady(FAR), "proxy": steady(PROXY), "vpn": steady(NEAR)})


@scenario(changing=False)
def near_equal(rng: Random) -> list[Line]:
    """Two routes within some percent of each other, whose noise is wider than that, and a bad one."""
    like = replace(VPN, connect=0.085, rate=2.4e6)
    return compose(rng, {"direct": steady(FAR), "vpn": steady(VPN), "office": steady(like)})


@scenario(changing=False)
def api_fast_bulk_slow(rng: Random) -> list[Line]:
    """The nearest route answers at once and carries little; another answers late and carries much."""
    quick = Shape(0.02, 0.04, 2.5e5)
    wide = Shape(0.2, 0.3, 6e6)
    return compose(rng, {"direct": steady(quick), "vpn": steady(PROXY), "leased": steady(wide)})


@scenario(changing=False)
def head_fine_bulk_blocked(rng: Random) -> list[Line]:
    """Small answers pass on the nearest route, and the body of a layer stands still."""
    blocked = steady(replace(NEAR, stall=True))
    lines = compose(rng, {"direct": steady(NEAR), "vpn": steady(VPN), "proxy": steady(PROXY)})
    return [*lines, *states(rng, "direct", blocked, HOUR, role=Role.BLOB)]


@scenario(changing=False)
def per_registry(rng: Random) -> list[Line]:
    """One registry is not reached directly, another is best so, a third by the proxy."""
    lines = compose(
        rng,
        {"direct": steady(NEAR), "vpn": steady(VPN), "proxy": steady(PROXY)},
        registries=(HUB, GHCR, QUAY),
        pause=30.0,
    )
    shapes: dict[str, dict[str, Shape]] = {
        HUB: {"direct": replace(NEAR, silent=True), "vpn": VPN, "proxy": PROXY},
        GHCR: {"direct": NEAR, "vpn": VPN, "proxy": PROXY},
        QUAY: {"direct": NEAR.slower(40), "vpn": VPN.slower(10), "proxy": replace(PROXY, rate=3e6)},
    }
    for registry, routes in shapes.items():
        for route, shape in routes.items():
            lines += states(rng, route, steady(shape), HOUR, registry=registry)
    return lines


@scenario(changing=False)
def lossy(rng: Random) -> list[Line]:
    """The nearest route loses one segment in twenty: low delay, low rate, a second more now and then."""
    losing = Shape(0.03, 0.06, 4e5, loss=0.05, spread=1.5)
    return compose(rng, {"direct": steady(losing), "vpn": steady(replace(VPN, loss=0.002)), "proxy": steady(PROXY)})


@scenario(changing=False)
def probe_blocked(rng: Random) -> list[Line]:
    """Probes of the best route fail, and traffic passes."""
    return compose(rng, {"direct": steady(FAR), "vpn": steady(replace(NEAR, probe=False)), "proxy": steady(PROXY)})


@scenario(changing=True)
def daily_congestion(rng: Random) -> list[Line]:
    """Direct is the best by night and carries a fifteenth in the evening, the VPN a half. A day in six hours."""

    def evening(depth: float) -> Callable[[float], float]:
        return lambda t: 1 + (depth - 1) * max(0.0, math.sin(2 * math.pi * t / (6 * HOUR))) ** 2

    direct, vpn = evening(15.0), evening(2.0)
    courses: dict[str, Course] = {
        "direct": lambda t: NEAR.slower(direct(t)),
        "vpn": lambda t: VPN.slower(vpn(t)),
        "proxy": steady(PROXY),
    }
    return compose(rng, courses, hours=6.0, pause=180.0)


@scenario(changing=True)
def flapping(rng: Random) -> list[Line]:
    """The best route goes down and comes back, after 20 to 90 s each."""
    changes = _times(rng, 20.0, 90.0)
    courses = {"direct": switching(changes, NEAR, None), "vpn": steady(VPN), "proxy": steady(PROXY)}
    return compose(rng, courses, changes=changes)


@scenario(changing=True)
def slow_decay(rng: Random) -> list[Line]:
    """The best route becomes thirty times slower within an hour, and stays so for another."""
    courses: dict[str, Course] = {
        "direct": lambda t: NEAR.slower(30.0 ** min(1.0, t / HOUR)),
        "vpn": steady(VPN),
        "proxy": steady(PROXY),
    }
    return compose(rng, courses, hours=2.0, pause=90.0)


@scenario(changing=True)
def sudden_death(rng: Random) -> list[Line]:
    """The best route dies twice without a word, for ten minutes or more."""
    changes = (900.0, 900.0 + rng.uniform(600, 900), 2400.0, 2400.0 + rng.uniform(600, 900))
    courses = {"direct": switching(changes, NEAR, None), "vpn": steady(VPN), "proxy": steady(PROXY)}
    return compose(rng, courses, changes=changes)


@scenario(changing=True)
def new_network(rng: Random) -> list[Line]:
    """A laptop sleeps and wakes in another network, twice: direct is the best, then the VPN, then direct."""
    changes = (1300.0, 2500.0)
    courses = {
        "direct": switching(changes, NEAR, FAR, NEAR),
        "vpn": switching(changes, PROXY, NEAR, None),
        "proxy": switching(changes, None, PROXY, VPN),
    }
    lines = [line for line in compose(rng, courses, changes=changes) if not _asleep(line, changes)]
    return [*lines, *(Network(t, name) for t, name in zip((0.0, *changes), ("home", "cafe", "home"), strict=True))]


def _asleep(line: Line, changes: tuple[float, ...]) -> bool:
    """Nobody pulls in the two minutes before the lid opens again."""
    return isinstance(line, Request) and any(0 < change - line.t < 120 for change in changes)


@scenario(changing=True)
def late_riser(rng: Random) -> list[Line]:
    """What is the best route from the twentieth minute on was down before."""
    changes = (1200.0,)
    courses = {"direct": steady(FAR), "proxy": steady(PROXY), "vpn": switching(changes, None, NEAR)}
    return compose(rng, courses, hours=1.5, changes=changes)


@scenario(changing=True)
def stalls(rng: Random) -> list[Line]:
    """Layers on the best route stand still for one to three minutes at a time, while all else passes."""
    changes = _times(rng, 60.0, 180.0)
    standing = switching(changes, NEAR, replace(NEAR, stall=True))
    lines = compose(rng, {"direct": steady(NEAR), "vpn": steady(VPN), "proxy": steady(PROXY)})
    return [*lines, *states(rng, "direct", standing, HOUR, changes=changes, role=Role.BLOB)]


@scenario(changing=True)
def all_bad(rng: Random) -> list[Line]:
    """Every route is slow and loses much, and each is down for a part of the time."""
    bad = Shape(0.3, 0.6, 2e5, loss=0.08, spread=1.5)
    courses: dict[str, Course] = {}
    every: list[float] = []
    for route, factor in (("direct", 1.0), ("vpn", 1.5), ("proxy", 2.0)):
        changes = _times(rng, 30.0, 240.0)
        every += changes
        courses[route] = switching(changes, bad.slower(factor), None, bad.slower(2 * factor))
    return compose(rng, courses, pause=120.0, changes=tuple(every))


def _times(rng: Random, least: float, most: float) -> tuple[float, ...]:
    """Random times in an hour, that far apart."""
    times: list[float] = []
    t = rng.uniform(least, most)
    while t < HOUR:
        times.append(t)
        t += rng.uniform(least, most)
    return tuple(times)
