"""Fake time goes on from one process's wish to the next."""

from __future__ import annotations

from tests.bench.policy.clock import Clock, Process


def test_processes_go_on_at_their_times() -> None:
    """Each goes on when it wanted to; of equal times, the one that asked first."""
    clock, told = Clock(10.0), []

    def process(name: str, *times: float) -> Process[None]:
        for t in times:
            yield t
            told.append((name, clock.now))

    clock.spawn(process("a", 12.0, 15.0))
    clock.spawn(process("b", 15.0), at=11.0)
    clock.run()
    assert told == [("a", 12.0), ("b", 15.0), ("a", 15.0)]


def test_the_background_is_not_waited_for() -> None:
    """A run ends with its last process of the foreground; a time that has passed means now."""
    clock = Clock()
    ticks = []

    def ticking() -> Process[None]:
        while True:
            ticks.append(clock.now)
            yield clock.now + 1.0

    def work() -> Process[None]:
        yield 2.5
        yield 1.0

    clock.spawn(ticking(), background=True)
    clock.spawn(work())
    clock.run()
    assert (ticks, clock.now) == ([0.0, 1.0, 2.0], 2.5)
