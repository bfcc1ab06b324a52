"""Towline's choices over three routes that differ, measured at length: python -m tests.e2e.choice

    --only WORDS       only measurements whose name contains this; may be repeated
    --runs N           of each turn of the best route (3)
    --tunnels N        whose choices are counted (200)
    --noise SECONDS    of restless links (600)

Needs root, TUN devices, token buckets and the packages of tests/debian-packages.txt. Each measurement prints what came
of it and whether that is what is asked. Ends with 1 where one is not.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple

from tests.e2e.choice.explained import HOSTS, explain, missing
from tests.e2e.choice.figures import CHANGES, RIGHT
from tests.e2e.choice.measures import choices, flapping, noise, turn, warm
from tests.e2e.choice.stage import Stage

WARM_UP = 20.0  # seconds of pulls
WITHIN = (10.0, 30.0)  # seconds until a pull is right after the best route got worse, and after it recovered
WORSE_FOR = 60.0  # seconds that it stays so
FLAPPING = 60.0  # seconds of it
MOST_FLAPPING = 4  # switches in a minute
MOST_NOISE = 6  # switches in an hour
LEAST_RIGHT = 0.99  # of tunnels

type Verdict = tuple[bool, str]


class Measurement(NamedTuple):
    """What is asked, and how it is found out."""

    name: str
    asked: str
    take: Callable[[Stage], Verdict]


def measurements(runs: int, tunnels: int, restless: float) -> Iterator[Measurement]:
    """All of them."""
    yield Measurement("explain", "every route's estimate, evidence and age, and why", _explained)
    yield Measurement("choices", f"{LEAST_RIGHT:.0%} right", partial(_choices, tunnels=tunnels))
    for change in CHANGES:
        for run in range(1, runs + 1):
            name = f"turn {change} {run}"
            yield Measurement(name, "right within {:.0f} s and {:.0f} s".format(*WITHIN), partial(_turn, change=change))
    for link in dict.fromkeys(RIGHT.values()):
        asked = f"at most {MOST_FLAPPING} switches a minute, every pull completes"
        yield Measurement(f"flapping {link}", asked, partial(_flapping, link=link))
    asked = f"at most {MOST_NOISE} switches an hour, every pull completes"
    yield Measurement("noise", asked, partial(_noise, seconds=restless))


def _explained(stage: Stage) -> Verdict:
    with warm(stage, WARM_UP):
        answers = [explain(stage, host) for host in HOSTS]
    lacks = [lack for answer in answers for lack in missing(answer)]
    return not lacks, "\n".join([*(f"{answer['role']}: {answer['why']}" for answer in answers), *lacks])


def _choices(stage: Stage, tunnels: int) -> Verdict:
    with warm(stage, WARM_UP) as visitor:
        result = choices(visitor, tunnels=tunnels)
    return result.share >= LEAST_RIGHT, str(result)


def _turn(stage: Stage, change: str) -> Verdict:
    result = turn(stage, CHANGES[change], warm_up=WARM_UP, within=WITHIN, worse_for=WORSE_FOR)
    worse, better = WITHIN
    return result.worse.within(worse) and result.better.within(better), str(result)


def _flapping(stage: Stage, link: str) -> Verdict:
    result = flapping(stage, link, warm_up=WARM_UP, seconds=FLAPPING)
    most = MOST_FLAPPING * FLAPPING / 60
    return max(result.by_role.values()) <= most and not result.failed, str(result)


def _noise(stage: Stage, seconds: float) -> Verdict:
    result = noise(stage, warm_up=WARM_UP, seconds=seconds)
    most = math.ceil(MOST_NOISE * seconds / 3600)
    return max(result.by_role.values()) <= most and not result.failed, str(result)


def main() -> int:
    """Measure, and say what came of it; 1 where something is not as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tunnels", type=int, default=200)
    parser.add_argument("--noise", type=float, default=600.0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the stage is taken down
    all_well = True
    with closing(Stage()) as stage:
        for name, asked, take in measurements(options.runs, options.tunnels, options.noise):
            if options.only and not any(word in name for word in options.only):
                continue
            began = time.monotonic()
            well, told = take(stage)
            all_well &= well
            print(
                f"{'ok    ' if well else 'NOT OK'} {name} ({asked}; {time.monotonic() - began:.0f} s)\n{told}\n",
                flush=True,
            )
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
