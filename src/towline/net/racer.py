"""Runs a race: performs the commands of core/race.py with real dials.

The racer owns every dial and every socket of the race. The winner is taken out last; whatever else was open or under
way has been closed when `race` returns, raises or is cancelled.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog

from towline.core.policy import FailoverPolicy
from towline.core.race import Cancel, Command, Dial, Finish, Race, Wake
from towline.errors import ClientLeft, DialError, NoRoute
from towline.net.dialer import Dialed, Dialer
from towline.types import Attempt, Blame, OutcomeKind, Phase, Ranking

log = structlog.get_logger("towline")


@dataclass(frozen=True, slots=True)
class Won:
    """A race that found a route: its name, the connection (the caller's from here on), and all attempts."""

    route: str
    dialed: Dialed
    attempts: tuple[Attempt, ...]


async def race(
    ranking: Ranking, dialers: Mapping[str, Dialer], policy: FailoverPolicy, *, budget: float | None = None
) -> Won:
    """Dial `ranking.target` over its candidates until one route is established end to end.

    Raises NoRoute with every attempt's outcome when none is, at the latest after `budget` seconds (None: the budget of
    the target's role).
    """
    loop = asyncio.get_running_loop()
    if budget is None:
        budget = policy.budget(ranking.classification.role)
    machine = Race(ranking.candidates, policy, budget=budget)
    async with _Dials() as dials:
        commands = machine.begin(now=loop.time())
        while True:
            wake_at = machine.deadline
            for command in commands:
                match command:
                    case Dial(route, deadline):
                        dials.start(route, dialers[route].dial(ranking.target, deadline=deadline))
                    case Cancel(route):
                        dials.cancel(route)
                    case Wake(at):
                        wake_at = at
                    case Finish(None):
                        raise NoRoute(ranking.target, machine.attempts, ranking.excluded)
                    case Finish(str(winner)):
                        await dials.cancelled()
                        return Won(winner, dials.take(winner), machine.attempts)
            commands = await _next_commands(machine, dials, wake_at)


async def unless_left[T](work: Coroutine[Any, Any, T], when_left: Callable[[Callable[[], object]], object]) -> T:
    """Do what a client waits for, a race mostly; `when_left` takes what to call when it leaves. Raises ClientLeft.

    The work is done in the caller's own task, which is cancelled when the client leaves, as asyncio.timeout does it.
    """
    departure = _Departure()
    when_left(departure)
    if departure.has_come:
        work.close()
        raise ClientLeft
    with departure:
        return await work


class _Departure:
    """Called when the client leaves; in its block, the task is cancelled then, and ClientLeft comes out of it."""

    def __init__(self) -> None:
        self.has_come = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0

    def __call__(self) -> None:
        if self._task is not None and not self.has_come:
            self._task.cancel()
        self.has_come = True

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        task, self._task = self._task, None
        if self.has_come and task is not None and task.uncancel() <= self._cancelling and kind is CancelledError:
            raise ClientLeft from None


async def _next_commands(machine: Race, dials: _Dials, wake_at: float) -> list[Command]:
    """Wait for a dial to end or the wake-up time to come, and tell the machine."""
    route = await dials.first_ended(until=wake_at)
    now = asyncio.get_running_loop().time()
    if route is None:
        return machine.woken(now=now)
    error = dials.error(route)
    if error is None:
        return machine.established(route, now=now)
    return machine.failed(route, error.outcome(now - machine.began_at(route)), now=now)


class _Dials:
    """The dials of one race, each a task. Leaving the block ends all that were not taken out."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, asyncio.Task[Dialed]] = {}  # by route, in the order in which they began
        self._cancelled: list[asyncio.Task[Dialed]] = []
        self._news: asyncio.Future[None] = self._loop.create_future()
        """Done when a dial has ended since it was last waited for."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for route in list(self._running):
            self.cancel(route)
        await self.cancelled()

    def start(self, route: str, dial: Coroutine[Any, Any, Dialed]) -> None:
        """Begin a dial."""
        self._running[route] = task = self._loop.create_task(dial, name=f"dial over {route}")
        task.add_done_callback(self._tell)

    async def first_ended(self, *, until: float) -> str | None:
        """The route of a dial that has ended, of several the one begun first; None when `until` comes before."""
        if (route := self._first_ended()) is None:
            self._news = self._loop.create_future()
            timer = self._loop.call_at(until, self._tell)
            try:
                await self._news
            finally:
                timer.cancel()
            route = self._first_ended()
        return route

    def _first_ended(self) -> str | None:
        return next((route for route, task in self._running.items() if task.done()), None)

    def _tell(self, _: object = None) -> None:
        if not self._news.done():
            self._news.set_result(None)

    def error(self, route: str) -> DialError | None:
        """Why an ended dial failed, which is then forgotten; None where it was established."""
        task = self._running[route]
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return None
        del self._running[route]
        if isinstance(error, DialError):
            return error
        # A bug in a dialer, or in a library that lets a CancelledError of its own escape. The race goes on without it.
        log.error("dial_crashed", route=route, exc_info=error)
        return DialError(OutcomeKind.LOCAL, Phase.CONNECT, Blame.LOCAL, f"internal error: {type(error).__name__}")

    def take(self, route: str) -> Dialed:
        """Hand out an established connection, the receiver's from here on."""
        return self._running.pop(route).result()

    def cancel(self, route: str) -> None:
        """End a dial and close what it established meanwhile, by callback: that no second cancellation can prevent."""
        task = self._running.pop(route)
        if task.done():
            _close(task)
        else:
            task.cancel()
            task.add_done_callback(_close)
            self._cancelled.append(task)

    async def cancelled(self) -> None:
        """Wait until the cancelled dials have ended. Where none is left this is no point of suspension."""
        if pending := [task for task in self._cancelled if not task.done()]:
            await asyncio.wait(pending)


def _close(dial: asyncio.Task[Dialed]) -> None:
    """Close the connection of an ended dial that nobody wants any more."""
    if not dial.cancelled() and dial.exception() is None:
        dial.result().close()
