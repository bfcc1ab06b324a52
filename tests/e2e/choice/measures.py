"""What is measured of Towline's choices: plain functions, each with a Towline of its own, and what came of them.

choices     the share of tunnels that took the route that is right for their role
turn        how soon pulls are right after the best route got ten times worse, and after it recovered
flapping    how often the route changes, and whether pulls complete, while the best one comes and goes each second
noise       how often it changes between two equal routes that are as restless as networks are
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import takewhile

from tests.e2e.choice.figures import CHANGES, Choices, Followed, Switches, Turn, first_right
from tests.e2e.choice.links import SHAPES, Shape
from tests.e2e.choice.stage import Stage
from tests.e2e.choice.visits import PING, TOKEN, Errand, Pull, Visitor, layer

KIB, MIB = 2**10, 2**20
IMAGE = (256 * KIB, MIB, 4 * MIB)
"""Bytes of the layers of a pull, a small image's: the largest takes a second over `wide`, beyond TCP's slow start."""
SMALL_IMAGE = (128 * KIB, 256 * KIB, 768 * KIB)  # the same where many pulls are to follow a change quickly
SIZES = (128 * KIB, 256 * KIB, 512 * KIB, MIB, 3 * MIB)  # bytes of layers that are visited singly, with a mean of 1 MiB
MIX = ("api",) * 6 + ("auth",) * 3 + ("blob",) * 4  # how often each role is visited
WORKERS = 4  # visits at once

BETWEEN_PULLS = 1.0  # seconds
PACE = 2.0  # seconds between the beginnings of pulls that follow a change
MOST_PULLS = 24  # under way at once: more than begin in the time that a change has
MID_PULL = 0.4  # seconds after which a pull is at its layers
HALF_PERIOD = 0.5  # seconds that a route that flaps at 1 Hz is there, or away
NOISE_PERIOD = 0.5  # seconds between two moods of a restless network
NOISE = 0.2  # share by which delay and rate go up and down then
RESTLESS = ("quick", "wide")
ALIKE = Shape(round_trip=0.04, megabits=20.0)  # what both of them are in the mean


def choices(stage: Stage, *, warm_up: float, tunnels: int) -> Choices:
    """So many tunnels of all roles, several at once, after so many seconds of pulls."""
    with stage.start_towline() as towline:
        visitor = Visitor(stage, towline)
        pull_for(visitor, warm_up)
        rng = random.Random(4)
        errands = [_errand(visitor, rng) for _ in range(tunnels)]
        with ThreadPoolExecutor(WORKERS) as pool:
            visits = list(pool.map(visitor.visit, errands))
        visitor.find_routes(visits)
        return Choices(visits)


def _errand(visitor: Visitor, rng: random.Random) -> Errand:
    match rng.choice(MIX):
        case "api":
            return rng.choice((PING, visitor.manifest))
        case "auth":
            return TOKEN
        case _:
            return layer(rng.choice(SIZES))


def turn(stage: Stage, name: str, *, warm_up: float, within: tuple[float, float], worse_for: float) -> Turn:
    """Make the best route worse in the middle of a pull and then well again, and pull until pulls are right each time.

    `within`: seconds that each of the two may take; it stays worse for `worse_for` seconds at least.
    """
    change = CHANGES[name]
    worsen = partial(stage.links.change, change.link, **change.worse)
    recover = partial(stage.links.change, change.link, **SHAPES[change.link]._asdict())
    with stage.start_towline() as towline, shaped(stage):
        visitor = Visitor(stage, towline)
        pull_for(visitor, warm_up)
        began = time.monotonic()
        worse = _follow(visitor, worsen, change.roles, change.then, within[0])
        pull_for(visitor, worse_for - (time.monotonic() - began))
        return Turn(worse, _follow(visitor, recover, change.roles, change.link, within[1]))


def _follow(
    visitor: Visitor, happen: Callable[[], None], roles: Collection[str], right: str, within: float
) -> Followed:
    """Let a change happen in the middle of a pull, and pull until pulls are right, or for so long.

    Pulls begin at a steady pace: one that is under way over a route that got slow keeps none from beginning.
    """
    with ThreadPoolExecutor(MOST_PULLS) as pool:
        under_way = pool.submit(visitor.pull, IMAGE)
        time.sleep(MID_PULL)
        happen()
        changed = time.monotonic()
        later: list[Future[Pull]] = []
        while time.monotonic() - changed < within + PACE:
            time.sleep(PACE)
            later.append(pool.submit(visitor.pull, SMALL_IMAGE))
            ended = [pull.result() for pull in takewhile(Future.done, later)]
            visitor.find_routes(visit for pull in ended for visit in pull.visits)
            if first_right(ended, roles, right):
                break
    pulls = [pull.result() for pull in (under_way, *later)]
    visitor.find_routes(visit for pull in pulls for visit in pull.visits)
    first = first_right(pulls[1:], roles, right)
    seconds = None if first is None else first.began - changed
    return Followed(seconds, [f"{pull.began - changed:+.1f} s: {pull}" for pull in pulls])


def flapping(stage: Stage, link: str, *, warm_up: float, seconds: float) -> Switches:
    """Pulls while a link is there for half a second and away for the next, again and again."""

    def flap(number: int) -> None:
        stage.links.cut(link, off=number % 2 == 0)

    with shaped(stage):
        return _switches(stage, flap, HALF_PERIOD, warm_up=warm_up, seconds=seconds)


def noise(stage: Stage, *, warm_up: float, seconds: float) -> Switches:
    """Pulls while two links that are alike in the mean are restless."""
    rng = random.Random(4)

    def shake(_number: int) -> None:
        for link in RESTLESS:
            stage.links.change(
                link,
                round_trip=ALIKE.round_trip * rng.uniform(1 - NOISE, 1 + NOISE),
                megabits=ALIKE.megabits * rng.uniform(1 - NOISE, 1 + NOISE),
            )

    with shaped(stage):
        for link in RESTLESS:
            stage.links.change(link, **ALIKE._asdict())
        return _switches(stage, shake, NOISE_PERIOD, warm_up=warm_up, seconds=seconds)


def _switches(
    stage: Stage, happen: Callable[[int], None], period: float, *, warm_up: float, seconds: float
) -> Switches:
    with stage.start_towline() as towline:
        visitor = Visitor(stage, towline)
        pull_for(visitor, warm_up)
        before = len(visitor.visits)
        with recurring(happen, period):
            pulls = pull_for(visitor, seconds)
        visits = visitor.visits[before:]
        visitor.find_routes(visits)
        return Switches(seconds, pulls, visits)


def pull_for(visitor: Visitor, seconds: float) -> list[Pull]:
    """Pull again and again, with a pause after each, for so long."""
    until = time.monotonic() + seconds
    pulls = []
    while time.monotonic() < until:
        pulls.append(visitor.pull(IMAGE))
        time.sleep(BETWEEN_PULLS)
    return pulls


@contextmanager
def recurring(happen: Callable[[int], None], period: float) -> Iterator[None]:
    """While it lasts, let something happen each period; it is told how many times it has before."""
    over = threading.Event()

    def run() -> None:
        number = 0
        while not over.wait(period):
            happen(number)
            number += 1

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield
        finally:
            over.set()
            running.result()


@contextmanager
def shaped(stage: Stage) -> Iterator[None]:
    """Whatever becomes of the links in the body, they are as they were after it."""
    try:
        yield
    finally:
        stage.links.reset()
