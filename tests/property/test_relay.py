"""The relay's promise, for any chunking, any order of half-closes and any cut: the same bytes, or a prefix and FIN."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.net.tunnel import DEADLINE, TlsPairs, Tunnel, finish, open_descriptors, receive, receive_all, reset, send

from towline.net.ends import End
from towline.net.pipes import PipePool

type Side = Literal["client", "server"]
type Sends = list[tuple[Side, int]]

MOST_SENDS = 10
MOST_BYTES = 150_000  # of one send: more than the small queues and several TLS records hold
SIDES: st.SearchStrategy[Side] = st.sampled_from(("client", "server"))
SIZES = st.one_of(st.integers(1, 40), st.integers(1, MOST_BYTES))
SENDS = st.lists(st.tuples(SIDES, SIZES), max_size=MOST_SENDS)
FIN_AFTER = st.integers(0, MOST_SENDS)
QUEUES = st.sampled_from((None, 1 << 12, 1 << 15))  # the system's, and two that are full all the time
CUTS = st.sampled_from(("server reset", "server close", "client reset", "release"))

SAID = {
    "client": hashlib.shake_128(b"client").digest(MOST_SENDS * MOST_BYTES),
    "server": hashlib.shake_128(b"server").digest(MOST_SENDS * MOST_BYTES),
}
"""What each side says: it sends prefixes of this, so that a byte lost, repeated, moved or swapped shows."""


@pytest.fixture(scope="module", params=["splice", "copy"])
def pool(request: pytest.FixtureRequest) -> Iterator[PipePool | None]:
    """One pool for all examples, so that what one left in a pipe would reach the next; None for copying."""
    pool = PipePool() if request.param == "splice" else None
    yield pool
    if pool:
        pool.close()


@pytest.fixture(scope="module")
def tls() -> TlsPairs:
    """Makes TLS upstreams."""
    return TlsPairs()


class Script:
    """Plays sends and FINs at the two far ends of a tunnel."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._ends = {"client": tunnel.client, "server": tunnel.server}
        self._sent = {"client": 0, "server": 0}

    async def play(self, sends: Sends, fin_after: dict[Side, int]) -> None:
        """Send in order; a side in `fin_after` says FIN once that many sends of both are through, then nothing."""
        for number, (side, size) in enumerate(sends):
            self._finish(fin_after, number)
            if number < fin_after.get(side, MOST_SENDS):
                begin = self._sent[side]
                self._sent[side] += size
                await send(self._ends[side], SAID[side][begin : begin + size])
        for number in range(len(sends), MOST_SENDS + 1):
            self._finish(fin_after, number)

    def _finish(self, fin_after: dict[Side, int], number: int) -> None:
        for side, after in fin_after.items():
            if after == number:
                finish(self._ends[side])


def total(side: Side, sends: Sends, fin_after: int) -> int:
    """How many bytes a side sends before its FIN."""
    return sum(size for who, size in sends[:fin_after] if who == side)


def holds(pool: PipePool | None) -> int:
    """Descriptors open now, the pool's idle pipes left out."""
    return open_descriptors() - (2 * len(pool._idle) if pool else 0)


@given(sends=SENDS, client_fin=FIN_AFTER, server_fin=FIN_AFTER, queue=QUEUES)
@settings(deadline=None, max_examples=60)
def test_any_exchange_arrives_unchanged(
    pool: PipePool | None, sends: Sends, client_fin: int, server_fin: int, queue: int | None
) -> None:
    """Both sides receive exactly what the other said before its FIN, in whatever order the FINs come."""
    down, up = total("server", sends, server_fin), total("client", sends, client_fin)

    async def exchange() -> None:
        tunnel = Tunnel.start(pool, buffer=queue)
        received = await asyncio.gather(
            receive_all(tunnel.client),
            receive_all(tunnel.server),
            Script(tunnel).play(sends, {"client": client_fin, "server": server_fin}),
        )
        assert received[0] == SAID["server"][:down]
        assert received[1] == SAID["client"][:up]
        end = await tunnel.end()
        assert end.first in {End.CLIENT_FIN, End.UPSTREAM_FIN}
        assert (end.bytes_in, end.bytes_out) == (down, up)
        await tunnel.close()

    before = holds(pool)
    asyncio.run(exchange())
    assert holds(pool) == before


@given(sends=SENDS, queue=QUEUES)
@settings(deadline=None, max_examples=40)
def test_any_exchange_under_tls_arrives_unchanged(
    pool: PipePool | None, tls: TlsPairs, sends: Sends, queue: int | None
) -> None:
    """The same with a TLS upstream. FINs come last: to OpenSSL one without close_notify ends both directions."""
    down, up = total("server", sends, MOST_SENDS), total("client", sends, MOST_SENDS)

    async def exchange() -> None:
        tunnel = Tunnel.start(pool, buffer=queue, upstream=await tls(queue))
        received = await asyncio.gather(
            receive(tunnel.client, down),
            receive(tunnel.server, up),
            Script(tunnel).play(sends, {}),
        )
        assert received[0] == SAID["server"][:down]
        assert received[1] == SAID["client"][:up]
        finish(tunnel.client)
        assert await receive_all(tunnel.server) == b""
        tunnel.server.close()
        assert await receive_all(tunnel.client) == b""
        assert (await tunnel.end()).first is End.CLIENT_FIN
        await tunnel.close()

    before = holds(pool)
    asyncio.run(exchange())
    assert holds(pool) == before


@given(sends=SENDS, cut=CUTS, moment=st.integers(0, 60), queue=QUEUES)
@settings(deadline=None, max_examples=100)
def test_any_cut_leaves_a_prefix_and_fin(
    pool: PipePool | None, sends: Sends, cut: str, moment: int, queue: int | None
) -> None:
    """Cut at any moment of any exchange: both sides have a prefix of what the other said, and the client sees FIN."""

    async def exchange() -> None:
        tunnel = Tunnel.start(pool, buffer=queue)
        playing = asyncio.create_task(Script(tunnel).play(sends, {}))
        client_has, server_has = bytearray(), bytearray()
        client_reads = asyncio.create_task(collect(tunnel.client, client_has))
        server_reads = asyncio.create_task(collect(tunnel.server, server_has))
        for _ in range(moment):
            await asyncio.sleep(0)
        await stop(playing)
        if cut == "client reset":
            await stop(client_reads)
            reset(tunnel.client)
            with suppress(ConnectionResetError):  # the relay closes its upstream at once, whatever is unread there
                await server_reads
        else:
            if cut == "release":
                tunnel.relay.release()
            else:
                await stop(server_reads)
                reset(tunnel.server) if cut == "server reset" else tunnel.server.close()
            await client_reads
            tunnel.client.close()
            await stop(server_reads)
        assert SAID["server"].startswith(client_has)
        assert SAID["client"].startswith(server_has)
        await tunnel.end()
        await tunnel.close()

    before = holds(pool)
    asyncio.run(exchange())
    assert holds(pool) == before


async def collect(sock: socket.socket, received: bytearray) -> None:
    """Append what comes until FIN. Raises ConnectionResetError on RST."""
    async with asyncio.timeout(DEADLINE):
        while data := await asyncio.get_running_loop().sock_recv(sock, 1 << 16):
            received += data


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it is done; what it raised does not matter."""
    task.cancel()
    await asyncio.wait([task])
    with suppress(asyncio.CancelledError, ConnectionError):
        task.result()
