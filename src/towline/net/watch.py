"""Watches the machine's network, and whether it slept: tells of each change once, after its burst of events.

    an event of the kernel (netlink.py), else every few seconds  ->  a moment to settle  ->  a look (machine.py), in a
    thread  ->  changed(Change), on the event loop, where something differs that matters or the machine slept

An idle Towline wakes every CHECK_EVERY seconds for some microseconds, to compare two clocks. A timer of the kernel that
counts sleep would do without, but Python has it from 3.13 on and on Linux alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from towline.core.network import Difference, Network, compare, identity
from towline.core.settling import Settling, Sleep
from towline.net import machine, netlink

log = structlog.get_logger("towline.net.watch")

CHECK_EVERY = 3.0  # seconds between two comparisons of the clocks, and where no event comes, between two looks
MAX_RETRIES = 20  # looks for a router's hardware address in a row: a switch port may take 30 s to pass packets (STP)


@dataclass(frozen=True, slots=True)
class Change:
    """What is new since the last one."""

    before: Network | None
    """None in the first one, and where the network cannot be seen."""
    after: Network | None
    difference: Difference
    slept: float
    """Seconds that this process did not run, because the machine slept or it was stopped; 0.0 where it ran."""

    def words(self) -> list[str]:
        """What happened, a phrase each."""
        slept = [f"nothing ran for {self.slept:.0f} s"] if self.slept else []
        return slept + self.difference.words()


class NetworkWatch:
    """Watches for one Service. `close()` before the loop ends."""

    def __init__(
        self,
        changed: Callable[[Change], bool | None],
        *,
        read: Callable[[], Network] = machine.read,
        subscribe: Callable[[], socket.socket | None] = netlink.subscribe,
    ) -> None:
        """`changed` is called on the loop: first with the network as it is found, then with each change.

        It gives whether it acted upon it: then it is left in peace for a while (core/settling.py).
        """
        self._changed = changed
        self._read = read
        self._subscribe = subscribe
        self._loop = asyncio.get_running_loop()
        self._settling = Settling()
        self._sleep = Sleep(now=self._loop.time(), with_sleep=_clock_with_sleep())
        self._stirred = asyncio.Event()
        self._events: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._retries = 0
        self.looked = asyncio.Event()
        """Set when it has looked for the first time."""
        self.network: Network | None = None
        """As it was last seen; None while it is not known."""

    def start(self) -> None:
        """Look for the first time, and watch from then on; a second time does nothing."""
        if self._task is not None:
            return
        self._events = self._subscribe()
        self._task = self._loop.create_task(self._run(), name="network watch")

    def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
        self._drop_events()

    async def _run(self) -> None:
        slept = 0.0
        while True:
            try:
                await self._look(slept)
            except Exception:  # a bug; the next change is looked at all the same
                log.exception("look_crashed")
            self.looked.set()
            slept = await self._until_due()

    async def _until_due(self) -> float:
        """Wait until there is something to look at; gives the seconds that were slept meanwhile."""
        slept = 0.0
        while not self._settling.take(now=self._loop.time()):
            due = self._loop.time() + CHECK_EVERY
            if self._settling.due is not None:
                due = min(due, self._settling.due)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._stirred.wait()
            self._stirred.clear()
            now = self._loop.time()
            slept += self._sleep.measure(due=due, now=now, with_sleep=_clock_with_sleep())
            if slept or self._events is None or self._is_router_new():
                self._settling.note(now=now)
        return slept

    def _is_router_new(self) -> bool:
        """Whether a router's hardware address is still to be found out."""
        ways = () if self.network is None else self.network.ways_out
        return self._retries < MAX_RETRIES and any(way.gateway is not None and not way.hardware for way in ways[:1])

    async def _look(self, slept: float) -> None:
        """Read the network, and tell of what has changed."""
        self._listen()  # before the reading: what happens during it is the next change
        before = self.network
        try:
            after = await asyncio.to_thread(self._read)
        except (OSError, RuntimeError) as error:  # no AF_NETLINK in this sandbox, or no thread left
            if before is not None or not self._retries:
                log.warning("network_unseen", why=str(error), hint="changes of the network will go unnoticed")
            self._retries += 1
            self.network = None
            if slept:
                self._tell(Change(before, None, Difference(), slept))
            return
        difference = Difference() if before is None else compare(before, after)
        self._retries = self._retries + 1 if self._is_router_new() and not difference else 0
        self.network = after
        if before is None or difference or slept or identity(before) != identity(after):
            self._tell(Change(before, after, difference, slept))

    def _tell(self, change: Change) -> None:
        if self._changed(change):
            self._settling.acted(now=self._loop.time())

    def _listen(self) -> None:
        """Forget the events so far and wait for the next."""
        if self._events is None:
            return
        if netlink.drain(self._events):
            self._loop.add_reader(self._events, self._heard)
        else:
            self._drop_events()

    def _heard(self) -> None:
        """Something has changed; what else comes until the look is part of it and wakes nobody."""
        if self._events is not None:
            self._loop.remove_reader(self._events)
        self._settling.note(now=self._loop.time())
        self._stirred.set()

    def _drop_events(self) -> None:
        if self._events is not None:
            self._loop.remove_reader(self._events)
            self._events.close()
            self._events = None


def _clock_with_sleep() -> float:
    """Seconds on a clock that goes on while the machine sleeps, which the loop's does not (time.monotonic)."""
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
