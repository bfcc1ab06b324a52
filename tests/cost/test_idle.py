"""What idle tunnels hold and have done, in all that `towline run` is composed of."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from tests.cost.counting import Calls, Limit, within
from tests.cost.ends import TLS, Ends

from towline.net.direction import Direction

TUNNELS = 100
MINUTES = 3
STEP = 0.25  # seconds by which the clock is moved: half of what the watch waits between two looks

BYTES = Limit("bytes that an idle tunnel holds", 14_400)
BLOCKS = Limit("blocks of memory that an idle tunnel holds", 154)
CALLS = Limit("calls for an idle tunnel in a minute, its host being silent", 960, headroom=2)
"""It scatters, since the host is asked whether it is alive, which takes the time that it takes. Where all tunnels are
looked at twice a second, idle or not, it is 6,600."""


@pytest.fixture
async def far_ends(ends: Ends) -> AsyncIterator[list[int]]:
    """Descriptors of tunnels that have been used: they take no memory that would count as Towline's."""
    descriptors: list[int] = []
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def open_tunnels(ends: Ends, far_ends: list[int]) -> None:
    """Open them, and leave them alone."""
    for _ in range(TUNNELS):
        far_ends += [sock.detach() for sock in ends.open(TLS)]


async def test_memory_of_an_idle_tunnel(ends: Ends, far_ends: list[int]) -> None:
    """It holds no more objects and no more bytes than it did; what the kernel holds for its sockets does not count."""
    gc.collect()
    tracemalloc.start()
    try:
        blocks = sys.getallocatedblocks()
        await asyncio.to_thread(open_tunnels, ends, far_ends)
        gc.collect()
        blocks = sys.getallocatedblocks() - blocks
        held, _ = tracemalloc.get_traced_memory()
        lines = tracemalloc.take_snapshot().statistics("lineno")[:20]
    finally:
        tracemalloc.stop()
    where = "\n".join(f"{line.size / TUNNELS:>8.0f} bytes  {line.traceback}" for line in lines)
    within(BYTES, held / TUNNELS, where)
    within(BLOCKS, blocks / TUNNELS, where)


async def test_calls_of_an_idle_tunnel(ends: Ends, far_ends: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its relay does nothing, and it is watched for no more than it was; the minutes are those of a moved clock."""
    await asyncio.to_thread(open_tunnels, ends, far_ends)
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    with Calls() as calls:
        for _ in range(int(MINUTES * 60 / STEP)):
            now += STEP
            for _ in range(3):  # a timer, the task that it wakes, and what that calls
                await asyncio.sleep(0)
    monkeypatch.undo()
    assert calls.of(Direction.turn) == 0
    within(CALLS, calls.count("own") / TUNNELS / MINUTES, calls.most(TUNNELS * MINUTES, "own"))
