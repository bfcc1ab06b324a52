"""How a route varies in a scenario: typical values, and noise around them.

Dials, first bytes and rates are spread log-normally around their medians, as measured ones are: mostly near, at times
far above. A new value holds for some seconds, drawn anew each time. How a route is meant to be at a time is a `Shape`,
its medians as they are then, or None where it is down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import exp
from random import Random

from tests.bench.policy.trace import Request, State

from towline.types import Role

SPREAD_CONNECT = 0.15  # deviations of the logarithm; our choice, as are the ones below
SPREAD_FIRST_BYTE = 0.25
SPREAD_RATE = 0.25
HOLDS = (5.0, 15.0)  # seconds for which a value holds
MEDIAN_LAYER = 3e6  # bytes; with the spread half of the bytes are in layers above 29 MB
SPREAD_LAYER = 1.5
LAYERS = (1, 8)
LEAST_LAYER, MOST_LAYER = 200, 300_000_000
AT_ONCE = 3  # layers that dockerd fetches side by side (max-concurrent-downloads)
LATER = 3.0  # seconds after which the next ones are asked for


@dataclass(frozen=True, slots=True)
class Shape:
    """The medians of a route. Seconds, and bytes a second."""

    connect: float
    first_byte: float
    rate: float
    loss: float = 0.0
    """Share of segments that are sent again: a SYN, or a first byte, comes a second later as often."""
    stall: bool = False
    silent: bool = False
    """It connects and says nothing."""
    probe: bool = True
    spread: float = 1.0
    """How wide the noise is, as a factor."""

    def slower(self, factor: float) -> Shape:
        """The same at a part of the rate, with waits that grow with its root."""
        return replace(
            self,
            connect=self.connect * factor**0.5,
            first_byte=self.first_byte * factor**0.5,
            rate=self.rate / factor,
        )


type Course = Callable[[float], Shape | None]
"""How a route is at a time; None: down."""


def steady(shape: Shape | None) -> Course:
    """Always the same."""
    return lambda t: shape


def states(
    rng: Random,
    route: str,
    course: Course,
    until: float,
    *,
    changes: tuple[float, ...] = (),
    registry: str | None = None,
    role: Role | None = None,
) -> Iterator[State]:
    """The lines of a route, from 0 on; a new one also at each of `changes`, where the course jumps."""
    at = 0.0
    jumps = sorted(changes)
    while at < until:
        yield replace(_state(rng, route, course(at), at), registry=registry, role=role)
        then = at + rng.uniform(*HOLDS)
        at = next((jump for jump in jumps if at < jump < then), then)


def _state(rng: Random, route: str, shape: Shape | None, t: float) -> State:
    t = round(t, 3)
    if shape is None:
        return State(t, route, None, None, 0.0)
    spread = shape.spread
    connect = shape.connect * _factor(rng, SPREAD_CONNECT * spread) + (rng.random() < shape.loss)
    first_byte = shape.first_byte * _factor(rng, SPREAD_FIRST_BYTE * spread) + (rng.random() < shape.loss)
    return State(
        t,
        route,
        connect=round(connect, 4),
        first_byte=None if shape.silent else round(first_byte, 4),
        rate=round(shape.rate * _factor(rng, SPREAD_RATE * spread)),
        stall=shape.stall,
        probe=shape.probe,
        loss=round(shape.loss, 4),
    )


def _factor(rng: Random, spread: float) -> float:
    return exp(rng.gauss(0, spread))


def pulls(rng: Random, registries: tuple[str, ...], until: float, *, pause: float) -> Iterator[Request]:
    """Pulls at random times, `pause` seconds apart on average, of one of the registries each."""
    at = rng.expovariate(1 / pause)
    while at < until:
        yield from _pull(rng, rng.choice(registries), at)
        at += rng.expovariate(1 / pause)


def _pull(rng: Random, registry: str, t: float) -> Iterator[Request]:
    """A ping, a token, a manifest, and the layers, some at once and the others later."""

    def request(after: float, role: Role, size: float) -> Request:
        return Request(round(t + after, 3), registry, role, round(size))

    yield request(0.0, Role.API, 500)
    yield request(0.3, Role.AUTH, rng.uniform(2000, 5000))
    yield request(0.6, Role.API, rng.uniform(1000, 20_000))
    for number in range(rng.randint(*LAYERS)):
        size = min(max(MEDIAN_LAYER * _factor(rng, SPREAD_LAYER), LEAST_LAYER), MOST_LAYER)
        yield request(1.0 + LATER * (number // AT_ONCE), Role.BLOB, size)
