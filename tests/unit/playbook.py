"""A playbook for the race: what happens at which time, and the commands that must follow, line by line.

race = play(
    new_race("direct", "vpn"),
    at(0.0, begin, Dial("direct", DIALS_END), Wake(0.25)),
    at(0.1, failed("direct"), Dial("vpn", DIALS_END), Wake(DEADLINE)),
    at(0.3, established("vpn"), Finish("vpn")),
)
"""

from __future__ import annotations

from collections.abc import Callable

from towline.core.race import Command, Race
from towline.types import Blame, Outcome, OutcomeKind, Phase

type Event = Callable[[Race, float], list[Command]]
type Line = tuple[float, Event, list[Command]]


def begin(race: Race, now: float) -> list[Command]:
    """The race begins."""
    return race.begin(now=now)


def woken(race: Race, now: float) -> list[Command]:
    """The wake-up time has come."""
    return race.woken(now=now)


def established(route: str) -> Event:
    """The dial over `route` reached the target."""
    return lambda race, now: race.established(route, now=now)


def failed(route: str, detail: str = "refused") -> Event:
    """The dial over `route` failed."""
    return lambda race, now: race.failed(route, refusal(now - race.began_at(route), detail), now=now)


def refusal(seconds: float, detail: str = "refused") -> Outcome:
    """The outcome of a dial that was refused."""
    return Outcome(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, seconds, detail)


def at(now: float, event: Event, *commands: Command) -> Line:
    """At `now` seconds comes `event`, and these commands follow."""
    return now, event, list(commands)


def play(race: Race, *lines: Line) -> Race:
    """Play the lines in order; an unexpected command fails the test with the line's number."""
    for number, (now, event, commands) in enumerate(lines, 1):
        assert event(race, now) == commands, f"line {number}, at {now} s"
    return race
