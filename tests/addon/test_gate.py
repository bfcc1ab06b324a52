"""The gate, behind a real listener: silent connections lose their places, nobody else does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.addon.embedded import DEADLINE, Embed

from towline.core.head import Request
from towline.errors import Refused
from towline.proxy.gate import CROWDED
from towline.proxy.handoff import HeldClient

CONNECT = b"CONNECT registry.test:443 HTTP/1.1\r\nHost: registry.test\r\n\r\n"
ANSWER = b"HTTP/1.1 418 as the test says\r\n\r\n"


async def test_silent_connections_make_room(embed: Embed) -> None:
    """With two places, the oldest of three silent connections goes; a request beside them is served."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.entered()
        await client.refuse(ANSWER)
        client.close()

    embedded = await embed(serve)
    embedded.service.limits = replace(embedded.service.limits, heads=2)
    silent = [await embedded.connect() for _ in range(3)]
    async with asyncio.timeout(DEADLINE):
        assert await silent[0][0].read() == CROWDED
        assert embedded.service.away == ["127.0.0.1"]
        reader, writer = await embedded.connect()
        assert await silent[1][0].read() == CROWDED
        writer.write(CONNECT)
        assert await reader.read() == ANSWER
        writer.close()
        newest = silent[2][1]
        newest.write(CONNECT)
        assert await silent[2][0].read() == ANSWER
    assert embedded.service.away == ["127.0.0.1"] * 2
    for _, writer in silent:
        writer.close()
    await embedded.idle()


async def test_a_tunnel_holds_no_place(embed: Embed) -> None:
    """Connections that were let through are counted as tunnels, not as waiting ones."""
    served = asyncio.Event()
    over = asyncio.Event()

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.entered()
        served.set()
        await over.wait()
        client.close()

    embedded = await embed(serve)
    embedded.service.limits = replace(embedded.service.limits, heads=1)
    async with asyncio.timeout(DEADLINE):
        first, first_writer = await embedded.connect()
        first_writer.write(CONNECT)
        await served.wait()
        _, second_writer = await embedded.connect()
        third, third_writer = await embedded.connect()
        third_writer.write(CONNECT)
        over.set()
        assert await third.read() == b""
        assert await first.read() == b""
    assert embedded.service.away == ["127.0.0.1"], "the silent second, and no tunnel"
    for writer in (first_writer, second_writer, third_writer):
        writer.close()
    await embedded.idle()


async def test_one_that_was_answered_makes_room(embed: Embed) -> None:
    """It has its answer and FIN, and lingers: the next one takes its place and is served."""

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        client.entered()
        await client.refuse(ANSWER)
        client.close()

    embedded = await embed(serve)
    embedded.service.limits = replace(embedded.service.limits, heads=1)
    async with asyncio.timeout(DEADLINE):
        lingering, lingering_writer = await embedded.connect()
        lingering_writer.write(CONNECT)
        assert await lingering.read() == ANSWER
        reader, writer = await embedded.connect()
        writer.write(CONNECT)
        assert await reader.read() == ANSWER
    assert embedded.service.away == ["127.0.0.1"]
    for each in (lingering_writer, writer):
        each.close()
    await embedded.idle()
