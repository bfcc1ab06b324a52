"""The hand-off on live connections: no byte lost or repeated, ends passed on, the bookkeeping closed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct

import pytest
from tests.addon.embedded import DEADLINE, Embed, Embedded

from towline.core.head import Request
from towline.errors import ClientLeft, Refused
from towline.proxy.handoff import HeldClient

pytestmark = pytest.mark.parametrize("embed", ["run", "mitmdump"], indirect=True)

CONNECT = b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"


async def _read_all(sock: socket.socket, first: bytes, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = bytearray(first)
    while len(received) < size:
        data = await loop.sock_recv(sock, 65536)
        assert data, f"end after {len(received)} of {size} bytes"
        received += data
    return bytes(received)


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 300_000, 2_000_000])
async def test_bytes_sent_with_the_head_arrive_once(embed: Embed, size: int) -> None:
    """What follows the head at once, however much, is in what `detach` gives or on the descriptor, in order."""
    sent = os.urandom(size)
    arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        await client.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        sock, pending = await client.detach()
        with sock:
            arrived.set_result(await _read_all(sock, pending, size))
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    writer.write(CONNECT + sent)
    async with asyncio.timeout(DEADLINE):
        assert await arrived == sent
        assert await reader.read() == b"HTTP/1.1 200 OK\r\n\r\n"
    writer.close()
    await proxy.idle()


async def test_detached_descriptor_carries_both_ways_and_ends(embed: Embed) -> None:
    """After the hand-off mitmproxy reads nothing, half-closes pass, and the close ends mitmproxy's part."""
    detached = asyncio.Event()

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        loop = asyncio.get_running_loop()
        sock, _ = await client.detach()
        detached.set()
        with sock:
            received = b""
            while data := await loop.sock_recv(sock, 4096):
                received += data
            await loop.sock_sendall(sock, received[::-1])
            sock.shutdown(socket.SHUT_WR)
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    writer.write(CONNECT)
    async with asyncio.timeout(DEADLINE):
        await detached.wait()
        writer.write(b"drawer")
        writer.write_eof()
        assert await reader.read() == b"reward"
    writer.close()
    await proxy.idle()


async def _connected(proxy: Embedded) -> None:
    async with asyncio.timeout(DEADLINE):
        while not proxy.connections:  # noqa: ASYNC110 - mitmproxy has no event for it
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("abort", [False, True], ids=["fin", "reset"])
async def test_client_that_leaves_before_its_answer_is_told(embed: Embed, *, abort: bool) -> None:
    """FIN and RST alike call back, and `detach` raises ClientLeft."""
    left = asyncio.Event()
    raised: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.when_left(left.set)
        await left.wait()
        try:
            await client.detach()
        except ClientLeft as error:
            raised.set_result(error)
        finally:
            client.close()

    proxy = await embed(serve)
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    sock.sendall(CONNECT)
    await _connected(proxy)
    if abort:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    async with asyncio.timeout(DEADLINE):
        assert isinstance(await raised, ClientLeft)
    await proxy.idle()


async def test_refusal_reaches_a_client_that_has_sent_more(embed: Embed) -> None:
    """Unread bytes behind the head do not turn the close into RST, which would destroy the answer on its way."""
    answer = b"HTTP/1.1 502 towline: no route\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        await client.refuse(answer)
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    writer.write(CONNECT + os.urandom(100_000))
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == answer  # a reset would raise
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await proxy.idle()


async def test_refused_client_that_sends_without_end_is_ended(embed: Embed) -> None:
    """It has its answer, and no one reads on for it."""
    answer = b"HTTP/1.1 431 no\r\n\r\n"

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        await client.refuse(answer)
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()

    async def flood() -> None:
        while True:
            writer.write(CONNECT * 1000)
            await writer.drain()

    flooding = asyncio.get_running_loop().create_task(flood())
    async with asyncio.timeout(DEADLINE):
        assert await reader.readexactly(len(answer)) == answer
        with pytest.raises(ConnectionError):
            await flooding
    writer.close()
    await proxy.idle()


async def test_many_connections_are_forgotten(embed: Embed) -> None:
    """A hundred served connections leave nothing behind: no registration, no descriptor."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        await client.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        sock, _ = await client.detach()
        sock.close()
        client.close()

    proxy = await embed(serve)

    async def connect(times: int) -> int:
        for _ in range(times):
            reader, writer = await proxy.connect()
            writer.write(CONNECT)
            async with asyncio.timeout(DEADLINE):
                await reader.read()
            writer.close()
            await writer.wait_closed()
        await proxy.idle()
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - descriptors, not files

    before = await connect(1)
    assert await connect(100) == before
