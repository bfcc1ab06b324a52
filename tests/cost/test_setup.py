"""What a tunnel costs from its accept to its end, through all that `towline run` is composed of."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from tests.cost.counting import Calls, Limit, within
from tests.cost.ends import DEADLINE, ONE_BYTE, TLS, Ends, Exchange

from towline.core.ledger import Tunnel
from towline.net.direction import Direction
from towline.net.relay import Relay
from towline.proxy.connection import Connection

TUNNELS = 50

CALLS = {
    ONE_BYTE: Limit("calls for a tunnel with one byte", 1857),
    TLS: Limit("calls for a tunnel with a TLS handshake", 2441),
}
KERNEL_CALLS = {
    ONE_BYTE: Limit("calls into the kernel for a tunnel with one byte", 63),
    TLS: Limit("calls into the kernel for a tunnel with a TLS handshake", 75),
}


@pytest.mark.parametrize("exchange", [ONE_BYTE, TLS], ids=lambda exchange: exchange.name)
async def test_calls_of_a_tunnel(ends: Ends, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that is opened, used and closed takes no more calls than it did."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)  # nothing else falls due meanwhile
    with Calls() as calls:
        await asyncio.to_thread(ends.churn, TUNNELS, exchange)
    monkeypatch.undo()
    within(CALLS[exchange], calls.count() / TUNNELS, calls.most(TUNNELS))
    within(KERNEL_CALLS[exchange], calls.count("kernel") / TUNNELS, calls.most(TUNNELS, "kernel"))


def alive() -> dict[type, int]:
    """What there is of the objects that a tunnel is made of."""
    found = dict.fromkeys((Tunnel, Relay, Direction, Connection), 0)
    for thing in gc.get_objects():
        if type(thing) in found:
            found[type(thing)] += 1
    return found


@pytest.fixture
def no_collector(ends: Ends) -> Iterator[None]:
    """What nobody holds is gone at once or, where it holds itself in a circle, never; the proxy's start lets it run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_tunnel(ends: Ends) -> None:
    """When their clients have closed them, tunnels are gone from memory, and leave the collector no work."""
    pairs = [await asyncio.to_thread(ends.open, TLS) for _ in range(TUNNELS)]
    try:
        assert alive() == {Tunnel: TUNNELS, Relay: TUNNELS, Direction: 2 * TUNNELS, Connection: TUNNELS}
    finally:
        for pair in pairs:
            await asyncio.to_thread(ends.close, pair, TLS)
    async with asyncio.timeout(DEADLINE):
        while any(alive().values()):  # noqa: ASYNC110 - memory announces nothing
            await asyncio.sleep(0.01)
