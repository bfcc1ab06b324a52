"""What is measured of Towline's choices: plain functions, each of a Towline that is warm.

choices     the share of tunnels that took the route that is right for their role
turn        how soon pulls are right after the best route got ten times worse, and after it recovered
flapping    how often the route changes, and whether pulls complete, while the best one comes and goes each second
noise       how often it changes between two equal routes that are as restless as networks are
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import takewhile

from tests.e2e.choice.figures import Change, Choices, Followed, Switches, Turn, first_right
from tests.e2e.choice.links import Shape
from tests.e2e.choice.stage import Stage
from tests.e2e.choice.visits import PING, TOKEN, Errand, Pull, Visitor, layer

KIB, MIB = 2**10, 2**20
IMAGE = (256 * KIB, 512 * KIB, 4 * MIB)
"""Bytes of the layers of a pull, a small image's: the largest takes a second over `wide`, beyond TCP's slow start."""
SMALL_IMAGE = (64 * KIB, 128 * KIB, 512 * KIB)  # the same where it is the number of pulls that counts
SIZES = (128 * KIB, 256 * KIB, 512 * KIB, MIB, 2 * MIB)  # bytes of layers that are visited singly
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


@contextmanager
def warm(stage: Stage, seconds: float) -> Iterator[Visitor]:
    """A Towline that has served pulls for so long, and links that are as they were when it is over."""
    with stage.start_towline() as towline, stage.links.restored():
        visitor = Visitor(stage, towline)
        pull_for(visitor, seconds, IMAGE)
        yield visitor


def choices(visitor: Visitor, *, tunnels: int) -> Choices:
    """So many tunnels of all roles, several at once."""
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


def turn(stage: Stage, change: Change, *, warm_up: float, within: tuple[float, float], worse_for: float) -> Turn:
    """Make a best route worse in the middle of a pull and then well again, and pull until pulls are right each time.

    `within`: seconds that each of the two may take; it stays worse for `worse_for` seconds at least.
    """

    with warm(stage, warm_up) as visitor:
        began = time.monotonic()
        worsen = partial(stage.links.change, change.link, **change.worse)
        worse = _follow(visitor, worsen, dict.fromkeys(change.roles, change.then), within[0])
        pull_for(visitor, worse_for - (time.monotonic() - began), SMALL_IMAGE)
        better = _follow(visitor, stage.links.restore, dict.fromkeys(change.roles, change.link), within[1])
        return Turn(worse, better)


def _follow(visitor: Visitor, happen: Callable[[], None], right: Mapping[str, str], within: float) -> Followed:
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
            if first_right(ended, right):
                break
    pulls = [pull.result() for pull in (under_way, *later)]
    visitor.find_routes(visit for pull in pulls for visit in pull.visits)
    first = first_right(pulls[1:], right)
    seconds = None if first is None else first.began - changed
    return Followed(seconds, [f"{pull.began - changed:+.1f} s: {pull}" for pull in pulls])


def flapping(stage: Stage, link: str, *, warm_up: float, seconds: float) -> Switches:
    """Pulls while a link is there for half a second and away for the next, again and again."""

    def flap(number: int) -> None:
        stage.links.cut(link, off=number % 2 == 0)

    with warm(stage, warm_up) as visitor:
        return _switches(visitor, flap, HALF_PERIOD, seconds)


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

    with stage.links.restored():
        for link in RESTLESS:
            stage.links.change(link, **ALIKE._asdict())
        with warm(stage, warm_up) as visitor:
            return _switches(visitor, shake, NOISE_PERIOD, seconds)


def _switches(visitor: Visitor, happen: Callable[[int], None], period: float, seconds: float) -> Switches:
    before = len(visitor.visits)
    with recurring(happen, period):
        pulls = pull_for(visitor, seconds, SMALL_IMAGE)
    visits = visitor.visits[before:]
    visitor.find_routes(visits)
    return Switches(seconds, pulls, visits)


def pull_for(visitor: Visitor, seconds: float, image: Sequence[int]) -> list[Pull]:
    """Pull again and again, with a pause after each, for so long."""
    until = time.monotonic() + seconds
    pulls = []
    while time.monotonic() < until:
        pulls.append(visitor.pull(image))
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
