"""Fake time: processes that are generators, each yielding the time at which it goes on.

    def pull() -> Process[int]:
        yield clock.now + 5.0       five seconds later
        got = yield from other()    what another one returns

Nothing waits for real. Equal times go on in the order in which they were asked for, so that a run can be repeated.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator

type Process[T] = Generator[float, None, T]


class Clock:
    """The time, and the processes that wait for it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._waiting: list[tuple[float, int, Process[object], bool]] = []
        self._spawned = 0
        self._awaited = 0

    def spawn(self, process: Process[object], *, at: float | None = None, background: bool = False) -> None:
        """Begin a process at a time (None: now). `run` does not wait for the end of one in the background."""
        self._awaited += not background
        self._wait(self.now if at is None else at, process, background)

    def _wait(self, at: float, process: Process[object], background: bool) -> None:
        self._spawned += 1
        heapq.heappush(self._waiting, (max(at, self.now), self._spawned, process, background))

    def run(self) -> None:
        """Go on until every process that is not in the background has ended."""
        while self._awaited:
            self.now, _, process, background = heapq.heappop(self._waiting)
            try:
                at = next(process)
            except StopIteration:
                self._awaited -= not background
            else:
                self._wait(at, process, background)
