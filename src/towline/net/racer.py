"""Runs a race: performs the commands of core/race.py with real dials.

The racer owns every dial and every socket of the race. The winner is taken out last; whatever else is open or under way
when `race` returns, raises or is cancelled has been closed by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from towline.core.policy import FailoverPolicy
from towline.core.race import Cancel, Command, Dial, Finish, Race, Wake
from towline.errors import DialError, NoRoute
from towline.net.dialer import Dialed, Dialer
from towline.types import Attempt, Blame, OutcomeKind, Phase, Ranking


@dataclass(frozen=True, slots=True)
class Won:
    """A race that found a route: its name, the connection (the caller's from here on), and all attempts."""

    route: str
    dialed: Dialed
    attempts: tuple[Attempt, ...]


@dataclass(slots=True)
class _Dials:
    """The dials under way, each a task of this race."""

    tasks: dict[str, asyncio.Task[Dialed]] = field(default_factory=dict)

    def route_of(self, task: asyncio.Task[Dialed]) -> str:
        return next(route for route, known in self.tasks.items() if known is task)

    async def close(self) -> None:
        """Cancel what runs and close what was established meanwhile."""
        for task in self.tasks.values():
            task.cancel()
        for result in await asyncio.gather(*self.tasks.values(), return_exceptions=True):
            if isinstance(result, Dialed):
                result.close()
        self.tasks.clear()


async def race(ranking: Ranking, dialers: Mapping[str, Dialer], policy: FailoverPolicy) -> Won:
    """Dial `ranking.target` over its candidates until one route is established end to end.

    Raises NoRoute with every attempt's outcome when none is, at the latest after the budget of the target's role.
    """
    loop = asyncio.get_running_loop()
    machine = Race(ranking.candidates, policy, budget=policy.budget(ranking.classification.role))
    dials = _Dials()
    try:
        commands = machine.begin(now=loop.time())
        while True:
            wake_at = machine.deadline
            for command in commands:
                match command:
                    case Dial(route, deadline):
                        dial = dialers[route].dial(ranking.target, deadline=deadline)
                        dials.tasks[route] = loop.create_task(dial, name=f"dial {ranking.target} over {route}")
                    case Cancel(route):
                        dials.tasks[route].cancel()
                    case Wake(at):
                        wake_at = at
                    case Finish(None):
                        raise NoRoute(ranking.target, machine.attempts, ranking.excluded)
                    case Finish(str(winner)):
                        return Won(winner, dials.tasks.pop(winner).result(), machine.attempts)
            commands = await _next_commands(machine, dials, wake_at)
    finally:
        await dials.close()


async def _next_commands(machine: Race, dials: _Dials, wake_at: float) -> list[Command]:
    """Wait for a dial to end or the wake-up time to come, and tell the machine."""
    loop = asyncio.get_running_loop()
    timeout = max(0.0, wake_at - loop.time())
    done, _ = await asyncio.wait(dials.tasks.values(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        return machine.woken(now=loop.time())
    task = next(iter(done))
    route = dials.route_of(task)
    error = task.exception()
    if error is None:
        return machine.established(route, now=loop.time())
    del dials.tasks[route]
    if not isinstance(error, DialError):  # a bug in a dialer: the race goes on over the other routes, and it is shown
        error = DialError(OutcomeKind.LOCAL, Phase.CONNECT, Blame.LOCAL, f"internal error: {error!r}")
    began = machine.began_at(route)
    return machine.failed(route, error.outcome(loop.time() - began), now=loop.time())
