"""What is measured of Towline's choices: plain functions, each with a Towline of its own, and what came of them.

    choices     the share of tunnels that took the route that is right for their role
    turn        how soon pulls are right after the best route got ten times worse, and after it recovered
    flapping    how often the route changes, and whether pulls complete, while the best one comes and goes each second
    noise       how often it changes between two equal routes that are as restless as networks are

Right is what the links make so (links.py), not what Towline thinks. A switch is a tunnel of a role that takes another
route than the one before it. A tunnel that Towline says it tried another route with is none, and does not make a pull
wrong; in the share of tunnels that were right it counts as what it is.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, takewhile
from typing import NamedTuple

from tests.e2e.choice.links import SHAPES, Shape
from tests.e2e.choice.stage import Stage
from tests.e2e.choice.visits import PING, TOKEN, Errand, Pull, Visit, Visitor, layer

RIGHT = {"api": "quick", "auth": "quick", "blob": "wide"}
TEN = 10  # times worse is a degraded route

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


@dataclass(slots=True)
class Choices:
    """What tunnels chose."""

    visits: list[Visit]
    right: Mapping[str, str] = field(default_factory=lambda: RIGHT)

    def wrong(self) -> list[Visit]:
        """Visits over a route that is not right for their role, or over none."""
        return [visit for visit in self.visits if visit.route != self.right[visit.role]]

    @property
    def share(self) -> float:
        """Of visits that were right, 0 to 1."""
        return 1 - len(self.wrong()) / len(self.visits)

    def __str__(self) -> str:
        total = Counter(visit.role for visit in self.visits)
        wrong = Counter(visit.role for visit in self.wrong())
        roles = ", ".join(f"{role} {total[role] - wrong[role]}/{total[role]}" for role in self.right)
        lines = [f"{self.share:.1%} of {len(self.visits)} tunnels right ({roles})"]
        return "\n".join([*lines, *(f"  wrong: {_told(visit)}" for visit in self.wrong()[:10])])


class Change(NamedTuple):
    """How a best route gets worse, and which is best then."""

    roles: tuple[str, ...]
    """For which it was the best, and is no longer."""
    link: str
    worse: dict[str, float]
    """For `Links.change`."""
    then: str


CHANGES = {
    "rate": Change(("blob",), "wide", {"megabits": SHAPES["wide"].megabits / TEN}, "quick"),
    "delay": Change(("api", "auth"), "quick", {"round_trip": SHAPES["quick"].round_trip * TEN}, "wide"),
}


@dataclass(slots=True)
class Turn:
    """How soon pulls followed a change: seconds until one began that was right and was followed by another."""

    change: str
    worse: float | None = None
    """After the best route got worse; None: not in the time that it had."""
    better: float | None = None
    """After it recovered."""
    pulls: list[str] = field(default_factory=list)
    """Each pull, in words."""

    def is_within(self, worse: float, better: float) -> bool:
        """Whether it took no longer."""
        return self.worse is not None and self.worse <= worse and self.better is not None and self.better <= better

    def __str__(self) -> str:
        told = [f"{what} {_seconds(took)}" for what, took in (("worse", self.worse), ("better", self.better))]
        return "\n".join([f"right again after {self.change}: {', '.join(told)}", *(f"  {pull}" for pull in self.pulls)])


@dataclass(slots=True)
class Switches:
    """How often the route changed, and what became of the pulls."""

    seconds: float
    pulls: list[Pull]
    visits: list[Visit]

    @property
    def by_role(self) -> dict[str, int]:
        """Switches of each role."""
        return {role: switches(visit for visit in self.visits if visit.role == role) for role in RIGHT}

    @property
    def failed(self) -> list[Pull]:
        """Pulls that did not complete."""
        return [pull for pull in self.pulls if pull.problem]

    def __str__(self) -> str:
        counts = ", ".join(f"{role} {count}" for role, count in self.by_role.items())
        head = f"switches in {self.seconds:.0f} s: {counts}; {len(self.pulls)} pulls, {len(self.failed)} failed"
        told = [f"  {pull.problem}" for pull in self.failed[:5]]
        for role in RIGHT:
            mine = [visit for visit in self.visits if visit.role == role]
            told += [f"  {one.route} -> {_told(two)}" for one, two in _moves(mine)]
        return "\n".join([head, *told[:25]])


def switches(visits: Iterable[Visit]) -> int:
    """How often the route differs from the one before."""
    return len(list(_moves(visits)))


def _moves(visits: Iterable[Visit]) -> Iterator[tuple[Visit, Visit]]:
    """Each visit with the one before it that took another route; those without a choice to be seen are left out."""
    chosen = [visit for visit in visits if visit.route and not visit.tried]
    return ((one, two) for one, two in pairwise(chosen) if one.route != two.route)


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
    result = Turn(name)
    with stage.start_towline() as towline, shaped(stage):
        visitor = Visitor(stage, towline)
        pull_for(visitor, warm_up)
        began = time.monotonic()
        result.worse = _follow(visitor, worsen, change.roles, change.then, within[0], result.pulls)
        pull_for(visitor, worse_for - (time.monotonic() - began))
        result.better = _follow(visitor, recover, change.roles, change.link, within[1], result.pulls)
    return result


def _follow(
    visitor: Visitor, happen: Callable[[], None], roles: Collection[str], right: str, within: float, told: list[str]
) -> float | None:
    """Let a change happen in the middle of a pull; seconds until the first of two right pulls in a row began.

    Pulls begin at a steady pace: one that is under way over a route that got slow keeps none from beginning.
    """
    with ThreadPoolExecutor(MOST_PULLS) as pool:
        pulls = [pool.submit(visitor.pull, IMAGE)]
        time.sleep(MID_PULL)
        happen()
        changed = time.monotonic()
        while time.monotonic() - changed < within + PACE:
            time.sleep(PACE)
            pulls.append(pool.submit(visitor.pull, SMALL_IMAGE))
            ended = list(takewhile(Future.done, pulls[1:]))
            if _first_right(visitor, [pull.result() for pull in ended], roles, right):
                break
    visitor.find_routes(visit for pull in pulls for visit in pull.result().visits)
    told.append(f"{right} becomes right for {', '.join(roles)}")
    told += [_tell(pull.result(), changed) for pull in pulls]
    first = _first_right(visitor, [pull.result() for pull in pulls[1:]], roles, right)
    return None if first is None else first.began - changed


def _first_right(visitor: Visitor, pulls: Sequence[Pull], roles: Collection[str], right: str) -> Pull | None:
    """The first of two right pulls in a row."""
    visitor.find_routes(visit for pull in pulls for visit in pull.visits)
    pairs = pairwise(pulls)
    return next((one for one, two in pairs if _is_right(one, roles, right) and _is_right(two, roles, right)), None)


def _is_right(pull: Pull, roles: Collection[str], right: str) -> bool:
    mine = [visit for visit in pull.visits if visit.role in roles and not visit.tried]
    return all(visit.route == right for visit in mine)


def _tell(pull: Pull, changed: float) -> str:
    routes = (f"{visit.role}:{visit.route or visit.problem}{'(tried)' * visit.tried}" for visit in pull.visits)
    return f"{pull.began - changed:+.1f} s, took {pull.seconds:.1f} s: {' '.join(routes)}"


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


def _told(visit: Visit) -> str:
    took = f"{visit.received} bytes in {visit.seconds:.2f} s"
    return f"{visit.role} by {visit.route or visit.problem}, {took}: {visit.why}"


def _seconds(took: float | None) -> str:
    return "not in its time" if took is None else f"{took:.1f} s"
