"""A schedule of visits and faults, played against Towline on loopback, and what must hold of it whatever happens:

1. what a visitor received is a prefix of what one connection of the server sent, and that one served this visit;
2. what the server received is a prefix of what one visitor sent;
3. no request reaches the server twice;
4. once all are gone, nothing is left: no tunnel, and no socket that was not there before;
5. when all faults are over, a visit gets every byte.

    python -m tests.faults.schedule --seconds 60 --seed 1

plays a random schedule and prints what came of it; it ends with 1 where something did not hold. The same seed is the
same schedule, though not the same interleaving. In test_schedule.py hypothesis makes short ones, and shrinks them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.e2e.rig.process import wait_until
from tests.faults.ground import ROUTES, Ground
from tests.faults.pattern import End, Errand, Served, Server, Visited, Way, visit

VISITS_PER_SECOND = 8.0
ORDERS_PER_SECOND = 2.0
KINDS = (
    "silent", "close", "refuse", "407", "502", "garbage", "drip",
    "200-silent", "200-close", "200-reset", "200-page", "200-alert",
    "reset", "fin", "stall", "trickle",
)  # fmt: skip
"""What a route may be told to do (faulty_proxy.py)."""
AFTER = (50, 500, 5_000, 50_000, 500_000)  # bytes to the client after which a cut comes: its 200 and the handshake, too
SIZES = (0, 1, 1_000, 100_000, 2_000_000)  # bytes of a stream
PATIENCE = 15.0  # seconds for a visit: longer than Towline takes for a first flight or to release a stuck tunnel
LEFT_OVER = 20.0  # seconds in which everything has to be gone


@dataclass(frozen=True, slots=True)
class Step:
    """What happens at one moment: an errand, or an order to the proxy of a route."""

    at: float
    """Seconds after the beginning."""
    act: Errand | tuple[str, dict[str, Any]]


type Schedule = Sequence[Step]


@dataclass(slots=True)
class History:
    """What both ends saw, and what was left when all were gone."""

    visited: list[Visited]
    served: list[Served]
    after: list[Visited]
    """Visits when all faults were over."""
    left: str = ""
    """What should not be there any more."""


def random_schedule(rng: random.Random, seconds: float) -> list[Step]:
    """Visits and faults at random moments."""
    steps = [Step(at, random_errand(rng)) for at in _moments(rng, seconds, VISITS_PER_SECOND)]
    steps += [Step(at, _random_order(rng)) for at in _moments(rng, seconds, ORDERS_PER_SECOND)]
    return sorted(steps, key=lambda step: step.at)


def _moments(rng: random.Random, seconds: float, per_second: float) -> Iterator[float]:
    at = rng.expovariate(per_second)
    while at < seconds:
        yield at
        at += rng.expovariate(per_second)


def random_errand(rng: random.Random) -> Errand:
    """Mostly over TLS, as registries are asked; now and then of a slow or impatient visitor."""
    down = rng.choice(SIZES)
    return Errand(
        way=rng.choice((Way.TLS, Way.TLS, Way.TLS, Way.PLAIN, Way.GREETED)),
        up=rng.choice(SIZES[:-1]),
        down=down,
        slow=rng.random() < 0.1,
        leaves_after=rng.randrange(down + 1) if rng.random() < 0.1 else None,
        half_closes=rng.random() < 0.3,
    )


def _random_order(rng: random.Random) -> tuple[str, dict[str, Any]]:
    route = rng.choice(ROUTES)
    match rng.random():
        case luck if luck < 0.3:
            return route, {"heal": True}
        case luck if luck < 0.4:
            return route, {"freeze": rng.choice(("all", "one"))}
        case _:
            return route, {"fault": rng.choice(KINDS), "after": rng.choice(AFTER)}


async def play(schedule: Schedule, ground: Ground, *, patience: float = PATIENCE) -> History:
    """Play it, let everybody finish, and look around."""
    server = Server()
    before = ground.sockets()
    async with server.listening(ground.ports, ground.server_tls):
        visits = await _play(schedule, ground, patience)
        for route in ROUTES:
            await asyncio.to_thread(ground.tell, route, heal=True)
        errands = [Errand(way, up=SIZES[2], down=SIZES[3]) for way in Way]
        after = [await _visit(f"after-{errand.way}", errand, ground, patience) for errand in errands]
    history = History(visits, server.served, after)
    history.left = await asyncio.to_thread(_left, ground, before)
    return history


async def _play(schedule: Schedule, ground: Ground, patience: float) -> list[Visited]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    visits = []
    async with asyncio.TaskGroup() as group:
        for number, step in enumerate(schedule):
            await asyncio.sleep(began + step.at - loop.time())
            if isinstance(step.act, Errand):
                visits.append(group.create_task(_visit(f"visit-{number}", step.act, ground, patience)))
            else:
                route, order = step.act
                await asyncio.to_thread(ground.tell, route, **order)
    return [task.result() for task in visits]


async def _visit(name: str, errand: Errand, ground: Ground, patience: float) -> Visited:
    return await visit(name, errand, ground.listen, ground.ports[errand.way], ground.client_tls, seconds=patience)


def _left(ground: Ground, before: int) -> str:
    """What is not gone within LEFT_OVER seconds."""
    try:
        wait_until(lambda: not ground.status()["tunnels"], "no tunnel is open", timeout=LEFT_OVER)
        wait_until(lambda: ground.sockets() <= before, f"no more than {before} sockets are open", timeout=LEFT_OVER)
    except AssertionError as error:
        return f"{error}: {ground.status()['tunnels']}, {ground.sockets()} sockets"
    return ""


def check(history: History) -> Iterator[str]:
    """What did not hold, one sentence each."""
    everyone = [*history.visited, *history.after]
    yield from (f"{one.visit} received {one.problem}" for one in everyone if one.problem)
    yield from (f"connection {one.number} received {one.problem}" for one in history.served if one.problem)
    visit_of = {one.number: one.visit for one in history.served}
    for one in everyone:
        if one.number is not None and visit_of.get(one.number) not in (one.visit, None):
            yield f"{one.visit} was served by connection {one.number}, which is that of {visit_of[one.number]}"
    requests = Counter(one.visit for one in history.served if one.visit is not None)
    yield from (f"{visit} reached the server {times} times" for visit, times in requests.items() if times > 1)
    broken = (one for one in history.after if one.end is not End.WHOLE)
    yield from (f"when all faults were over, {one.visit} ended {one.end}" for one in broken)
    if history.left:
        yield history.left


def main() -> int:
    """Play a random schedule; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    schedule = random_schedule(random.Random(options.seed), options.seconds)
    began = time.monotonic()
    with closing(Ground()) as ground:
        history = asyncio.run(play(schedule, ground))
        totals = ground.status()["totals"]
    wrong = list(check(history))
    figures = {
        "seconds": round(time.monotonic() - began, 1),
        "seed": options.seed,
        "visits": dict(Counter(f"{one.errand.way} {one.end}" for one in history.visited)),
        "connections": len(history.served),
        "bytes_down": sum(one.received for one in history.visited),
        "bytes_up": sum(one.received for one in history.served),
        "failovers": totals["failovers"],
        "refused": totals["refused"],
        "wrong": wrong,
    }
    print(json.dumps(figures, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
