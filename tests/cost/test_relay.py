"""What moving bytes costs a relay: turns, calls, and memory.

The test and the relay take turns in one loop, by a clock that the test moves: how much has come whenever the relay
looks is the same in every run, whatever else the machine does.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from tests.cost.counting import Calls, Limit, within
from tests.net.tunnel import Tunnel

from towline.net.carriers import COPY_BYTES
from towline.net.direction import Direction
from towline.net.pipes import PipePool

MIB = 1 << 20
BULK = 256 * MIB
PACKET = 1448  # bytes of TCP in a frame of Ethernet
LINE = 12.5e6  # bytes a second: 100 Mbit/s
STREAM = 4 * MIB  # a third of a second of that line
HOUR = 3600  # seconds
TURN = 0.001  # seconds that a turn of the loop takes while all goes as fast as it can

LATE = 1.15
"""Headroom where bytes come in packets: the kernel of a busy machine now and then delivers one a moment later."""

TURNS = {
    ("splice", "bulk"): Limit("turns of a relay that splices, for a MiB of bulk", 0.273),
    ("copy", "bulk"): Limit("turns of a relay that copies, for a MiB of bulk", 9.2),
    ("splice", "packets"): Limit("turns of a relay that splices, for a MiB in packets", 20.5, LATE),
    ("copy", "packets"): Limit("turns of a relay that copies, for a MiB in packets", 20.8, LATE),
}
CALLS = {
    ("splice", "bulk"): Limit("calls of a relay that splices, for a MiB of bulk", 26.4),
    ("copy", "bulk"): Limit("calls of a relay that copies, for a MiB of bulk", 174),
    ("splice", "packets"): Limit("calls of a relay that splices, for a MiB in packets", 697, LATE),
    ("copy", "packets"): Limit("calls of a relay that copies, for a MiB in packets", 416, LATE),
}
SMALL = 16_384
"""Bytes of memory that the test and the loop may take for themselves; 4,000 were seen."""
KEPT = 4_096
"""Bytes that may stay of it; one number kept for each turn would be twice as many."""
MEMORY = {"splice": SMALL, "copy": COPY_BYTES + SMALL}


class Clock:
    """The loop's clock, which stands unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Carrying:
    """A relay that has carried some MiB: its buffers are as large as they get."""

    way: str
    tunnel: Tunnel
    clock: Clock
    block: memoryview
    sink: bytearray

    async def bulk(self, size: int) -> None:
        """Send so many bytes to the client as fast as they go."""
        sent = received = 0
        while received < size:
            with suppress(BlockingIOError):
                while sent < size:
                    sent += self.tunnel.server.send(self.block[: size - sent])
            received += await self.step(TURN)

    async def packets(self, size: int) -> None:
        """Send so many bytes to the client in packets, as they come over a line."""
        for _ in range(size // PACKET):
            self.tunnel.server.send(self.block[:PACKET])
            await self.step(PACKET / LINE)

    async def step(self, seconds: float) -> int:
        """Move the clock and have done what is due and ready; how much came to the client."""
        self.clock.now += seconds
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # what sockets are ready for comes behind what was due before
        received = 0
        with suppress(BlockingIOError):
            while True:
                received += self.tunnel.client.recv_into(self.sink)
        return received


@pytest.fixture(params=["splice", "copy"])
async def carrying(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Carrying]:
    """Both ways of moving bytes, warm."""
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock)
    pipes = PipePool() if request.param == "splice" else None
    tunnel = Tunnel.start(pipes)
    made = Carrying(request.param, tunnel, clock, memoryview(bytes(MIB)), bytearray(MIB))
    await made.bulk(4 * MIB)
    yield made
    await tunnel.close()
    if pipes:
        pipes.close()


def hold_to_limits(carrying: Carrying, calls: Calls, kind: str, mebibytes: float) -> None:
    """Turns, and all calls of Towline's code."""
    where = calls.most(mebibytes, "own")
    within(TURNS[carrying.way, kind], calls.of(Direction.turn) / mebibytes, where)
    within(CALLS[carrying.way, kind], calls.count("own") / mebibytes, where)


async def test_bulk(carrying: Carrying) -> None:
    """A layer that comes as fast as it can takes no more turns and calls than it did."""
    with Calls() as calls:
        await carrying.bulk(BULK)
    hold_to_limits(carrying, calls, "bulk", BULK / MIB)


async def test_packets(carrying: Carrying) -> None:
    """Nor does one that comes packet by packet over a line of 100 Mbit/s."""
    with Calls() as calls:
        await carrying.packets(STREAM)
    hold_to_limits(carrying, calls, "packets", STREAM / MIB)


async def test_silence(carrying: Carrying) -> None:
    """An idle tunnel has nothing done in an hour: no turn, no timer, no call at all."""
    for _ in range(10):  # what is still due after the bytes before
        await carrying.step(1.0)
    with Calls() as calls:
        for _ in range(HOUR):
            await carrying.step(1.0)
    assert (calls.of(Direction.turn), calls.count("own")) == (0, 0), calls.most(1, "own")


async def test_memory(carrying: Carrying) -> None:
    """Nothing of what is spliced passes through memory, of what is copied a turn's worth; nothing of either stays."""
    await carrying.bulk(BULK)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await carrying.bulk(BULK)
        after, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - before <= MEMORY[carrying.way]
    assert after - before <= KEPT
