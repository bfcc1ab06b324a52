"""The race: overlapping dials over several routes, as a state machine without clock or socket.

Events go in as method calls with `now=`; commands come out as a list for the racer (net/racer.py) to perform:

    begin, failed, established, woken   ->   Dial, Cancel, Wake, Finish

Rules, all of them held by property tests:

1. The best route is dialled first. The next is dialled when the connection attempt delay of the newest has passed
   (RFC 8305 section 5), or at once when an attempt fails.
2. At most `max_parallel` attempts are under way; each route is dialled once.
3. The first route established end to end wins. All others are cancelled.
4. Every attempt ends in exactly one outcome, also the cancelled ones.
5. The race ends by its deadline, and every route gets its turn before, also where none ever answers: with many routes,
   pauses and dials are shorter.
6. The race finishes once. Events that come later change nothing and command nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from towline.core.policy import FailoverPolicy
from towline.types import Attempt, Blame, Candidate, Outcome, OutcomeKind, Phase

LAST_WORD = 0.02
"""Part of the budget that dials are denied: they end just before the race, and so tell themselves how far they came
(`timeout 4.9 s waiting for its answer`). The race at its deadline knows only that nothing came."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Start an attempt over `route`, which has until `deadline`."""

    route: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the attempt over `route` and close what it holds, also where it was established meanwhile."""

    route: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Call `woken` at `at`; replaces an earlier wish."""

    at: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The race is over: `winner` is the route to use, None when every route failed."""

    winner: str | None


type Command = Dial | Cancel | Wake | Finish


class Race:
    """One race for one target. All times are on the caller's clock, in seconds."""

    def __init__(self, candidates: Sequence[Candidate], policy: FailoverPolicy, *, budget: float) -> None:
        self._waiting = list(candidates)
        self._max_parallel = policy.max_parallel
        self._budget = budget
        self._dialling_time = budget * (1 - LAST_WORD)
        # Rule 5. With n routes in laps of `max_parallel`, dials this short leave room for all laps, and n pauses this
        # short for all routes: the i-th dial starts by i/n of the dialling time, whatever the others do.
        routes = max(1, len(candidates))
        self._longest_pause = self._dialling_time / routes
        self._longest_dial = min(policy.dial_timeout, self._dialling_time / math.ceil(routes / policy.max_parallel))
        self._began = 0.0
        self._next_at = 0.0
        self._began_at: dict[str, float] = {}  # route -> when its dial began, in the order of the dials
        self._outcomes: dict[str, Outcome] = {}
        self.finished = False

    @property
    def deadline(self) -> float:
        """When the race ends at the latest."""
        return self._began + self._budget

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that have ended, in the order in which they began."""
        return tuple(
            Attempt(route, began - self._began, self._outcomes[route])
            for route, began in self._began_at.items()
            if route in self._outcomes
        )

    def began_at(self, route: str) -> float:
        """When the attempt over `route` began."""
        return self._began_at[route]

    def begin(self, *, now: float) -> list[Command]:
        """Start the clock and the first attempt."""
        self._began = now
        return self._advance(now, start_next=True)

    def failed(self, route: str, outcome: Outcome, *, now: float) -> list[Command]:
        """An attempt ended without a connection."""
        if route not in self._running:
            return []
        self._outcomes[route] = outcome
        return self._advance(now, start_next=True)

    def established(self, route: str, *, now: float) -> list[Command]:
        """An attempt reached the target. After the finish it is nobody's winner: it has been cancelled already."""
        if route not in self._running:
            return []
        took = now - self._began_at[route]
        self._outcomes[route] = Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, took, "established")
        return self._finish(route, now)

    def woken(self, *, now: float) -> list[Command]:
        """The time of the last Wake has come."""
        if self.finished:
            return []
        if now >= self.deadline:
            return self._finish(None, now)
        return self._advance(now, start_next=now >= self._next_at)

    @property
    def _dials_end(self) -> float:
        return self._began + self._dialling_time

    @property
    def _running(self) -> list[str]:
        return [route for route in self._began_at if route not in self._outcomes]

    def _may_start(self, now: float) -> bool:
        return bool(self._waiting) and len(self._running) < self._max_parallel and now < self._dials_end

    def _advance(self, now: float, *, start_next: bool) -> list[Command]:
        commands: list[Command] = []
        if start_next and self._may_start(now):
            commands.append(self._start_next(now))
        if not self._running:
            return self._finish(None, now)
        commands.append(Wake(min(self._next_at, self.deadline) if self._may_start(now) else self.deadline))
        return commands

    def _start_next(self, now: float) -> Dial:
        candidate = self._waiting.pop(0)
        self._began_at[candidate.route] = now
        self._next_at = now + min(candidate.attempt_delay, self._longest_pause)
        return Dial(candidate.route, min(now + self._longest_dial, self._dials_end))

    def _finish(self, winner: str | None, now: float) -> list[Command]:
        """End what is under way, and with it the race."""
        running = self._running
        for route in running:
            self._outcomes[route] = _cut_short(now - self._began_at[route], winner)
        self.finished = True
        return [*(Cancel(route) for route in running), Finish(winner)]


def _cut_short(waited: float, winner: str | None) -> Outcome:
    """The outcome of an attempt that the race ends: a timeout at the deadline, else nobody's fault (yet: ledger.py)."""
    if winner is None:
        return Outcome(OutcomeKind.TIMEOUT, Phase.CONNECT, Blame.ROUTE, waited, f"timeout {waited:.1f} s")
    detail = f"no answer in {waited:.2f} s, {winner} was faster"
    return Outcome(OutcomeKind.CANCELLED, Phase.CONNECT, Blame.NONE, waited, detail)
