"""The race: overlapping dials over several routes, as a state machine without clock or socket.

Events go in as method calls with `now=`; commands come out as a list for the racer (net/racer.py) to perform:

    begin, failed, established, woken   ->   Dial, Cancel, Wake, Finish

Rules, all of them held by property tests:

1. The best route is dialled first. The next is dialled when the connection attempt delay of the newest has passed
   (RFC 8305 section 5), or at once when an attempt fails: there is then nothing left to wait for.
2. At most `max_parallel` attempts are under way; each route is dialled once.
3. The first route established end to end wins. All others are cancelled.
4. Every attempt ends in exactly one outcome, also the cancelled ones.
5. The race ends by its deadline: what is still under way then has timed out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from towline.core.policy import FailoverPolicy
from towline.types import Attempt, Blame, Candidate, Outcome, OutcomeKind, Phase


@dataclass(frozen=True, slots=True)
class Dial:
    """Start an attempt over `route`, which has until `deadline`."""

    route: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the attempt over `route` and close what it holds."""

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
        self._policy = policy
        self._budget = budget
        self._began = 0.0
        self._next_at = 0.0
        self._began_at: dict[str, float] = {}  # route -> when its dial began, in the order of the dials
        self._running: set[str] = set()
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
        if not self._end(route, outcome):
            return []
        return self._advance(now, start_next=True)

    def established(self, route: str, *, now: float) -> list[Command]:
        """An attempt reached the target; too late (after the finish) it is nobody's winner and must be closed."""
        took = now - self._began_at[route]
        if not self._end(route, Outcome(OutcomeKind.ESTABLISHED, Phase.ESTABLISHED, Blame.NONE, took, "established")):
            return [Cancel(route)]
        losers = self._cancel_running(now, winner=route)
        self.finished = True
        return [*losers, Finish(route)]

    def woken(self, *, now: float) -> list[Command]:
        """The time of the last Wake has come."""
        if self.finished:
            return []
        if now >= self.deadline:
            timed_out = self._cancel_running(now, winner=None)
            self.finished = True
            return [*timed_out, Finish(None)]
        return self._advance(now, start_next=now >= self._next_at)

    def _advance(self, now: float, *, start_next: bool) -> list[Command]:
        commands: list[Command] = []
        if start_next and self._waiting and len(self._running) < self._policy.max_parallel and now < self.deadline:
            candidate = self._waiting.pop(0)
            self._began_at[candidate.route] = now
            self._running.add(candidate.route)
            self._next_at = now + candidate.attempt_delay
            commands.append(Dial(candidate.route, min(now + self._policy.dial_timeout, self.deadline)))
        if not self._running:
            self.finished = True
            commands.append(Finish(None))
            return commands
        may_start = self._waiting and len(self._running) < self._policy.max_parallel
        commands.append(Wake(min(self._next_at, self.deadline) if may_start else self.deadline))
        return commands

    def _end(self, route: str, outcome: Outcome) -> bool:
        if route not in self._running:
            return False
        self._running.discard(route)
        self._outcomes[route] = outcome
        return True

    def _cancel_running(self, now: float, *, winner: str | None) -> list[Command]:
        commands: list[Command] = []
        for route in [route for route in self._began_at if route in self._running]:
            waited = now - self._began_at[route]
            if winner is None:
                outcome = Outcome(
                    OutcomeKind.TIMEOUT, Phase.CONNECT, Blame.ROUTE, waited, f"no answer in {waited:.1f} s"
                )
            else:
                detail = f"no answer in {waited:.2f} s, {winner} was faster"
                outcome = Outcome(OutcomeKind.CANCELLED, Phase.CONNECT, Blame.NONE, waited, detail)
            self._end(route, outcome)
            commands.append(Cancel(route))
        return commands
