"""The tunnels under watch, and when each of them is looked at.

awake     twice a second
asleep    when something moves on it, or when time alone may change what a look says: thousands of idle tunnels cost
          nothing
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator

import structlog

from towline.watched import Watched

log = structlog.get_logger("towline")

LOOK_EVERY = 0.5  # seconds between two looks: the least delay that a stall's bounds in seconds are worth
LATE = 2.0  # seconds by which a look is late where this process was stopped; on a busy machine it is late by less


class Looks:
    """A collection of tunnels. It belongs to the running loop; `close()` before that ends."""

    def __init__(self, look: Callable[[Watched], None], overslept: Callable[[], None]) -> None:
        """`look` looks at one tunnel; it may put this one to sleep, and drop any.

        `overslept` is told where looks should have been long ago, before anything is judged by the time since.
        """
        self._look = look
        self._overslept = overslept
        self._all: dict[int, Watched] = {}
        self._awake: dict[int, Watched] = {}
        self._alarms: dict[int, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def __iter__(self) -> Iterator[Watched]:
        """Those that are under watch now; one that is dropped meanwhile is left out."""
        return (watched for number, watched in list(self._all.items()) if number in self._all)

    def add(self, watched: Watched) -> None:
        """Watch one more tunnel."""
        self._all[watched.tunnel.id] = watched
        self.wake(watched)

    def drop(self, watched: Watched) -> None:
        """Watch it no more."""
        number = watched.tunnel.id
        self._all.pop(number, None)
        self._awake.pop(number, None)
        self._silence_alarm(number)

    def wake(self, watched: Watched) -> None:
        """Look at it from now on, soon and often."""
        number = watched.tunnel.id
        if number in self._all:
            self._silence_alarm(number)
            self._awake[number] = watched
            self._look_later()

    def sleep(self, watched: Watched, *, until: float) -> None:
        """Look at it when something moves, or at `until` on the loop's clock."""
        number = watched.tunnel.id
        if number not in self._all or watched.relay is None:
            return
        self._silence_alarm(number)
        self._awake.pop(number, None)
        watched.relay.call_when_moving(lambda: self.wake(watched))
        if until < math.inf:
            self._alarms[number] = asyncio.get_running_loop().call_at(until, self._alarm, watched)

    def notice_sleep(self) -> None:
        """Find out whether this process was stopped, for whoever judges by time between two looks."""
        now = asyncio.get_running_loop().time()
        if now - self._due > LATE:
            self._due = now
            self._overslept()

    def close(self) -> None:
        """Look at nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        for alarm in self._alarms.values():
            alarm.cancel()

    def _silence_alarm(self, number: int) -> None:
        if alarm := self._alarms.pop(number, None):
            alarm.cancel()

    def _alarm(self, watched: Watched) -> None:
        self.wake(watched)
        self.look_safely(watched)

    def _look_later(self) -> None:
        if self._timer is None and self._awake:
            loop = asyncio.get_running_loop()
            self._due = loop.time() + LOOK_EVERY
            self._timer = loop.call_at(self._due, self._look_at_all)

    def _look_at_all(self) -> None:
        self.notice_sleep()
        self._timer, self._due = None, math.inf
        for number, watched in list(self._awake.items()):
            if number in self._awake:  # no other tunnel's look has released it
                self.look_safely(watched)
        self._look_later()

    def look_safely(self, watched: Watched) -> None:
        """Look at it now; a bug in that keeps nobody from looking at the next."""
        try:
            self._look(watched)
        except Exception:  # a bug: it is shown, and the other tunnels are looked at
            log.exception("look_crashed", target=str(watched.tunnel.target), route=watched.tunnel.route)
