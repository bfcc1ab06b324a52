"""An accepted connection under `towline run`: the head's deadline, slow answers, requests that crash."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.addon.embedded import DEADLINE, Embed

from towline.core.head import Request
from towline.errors import Refused
from towline.proxy.handoff import HeldClient

CONNECT = b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"


async def test_a_silent_connection_has_a_deadline(embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a head in time the request is a refusal that says so."""
    monkeypatch.setattr("towline.proxy.connection.HEAD_TIMEOUT", 0.05)
    served: list[Request | Refused] = []

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        served.append(request)
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    (refused,) = served
    assert proxy.service.clients == 1
    assert isinstance(refused, Refused)
    assert refused.code == "head_timeout"
    writer.close()
    await proxy.idle()


async def test_an_answer_waits_for_a_client_that_reads_slowly(embed: Embed) -> None:
    """`answer` returns when the kernel has all of it, which is more than its buffers hold."""
    answer = bytes(64 << 20)
    answered = asyncio.Event()

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        await client.answer(answer)
        answered.set()
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    writer.write(CONNECT)
    async with asyncio.timeout(DEADLINE):
        await reader.readexactly(1)
        assert not answered.is_set()
        assert len(await reader.read()) == len(answer) - 1
        assert answered.is_set()
    writer.close()
    await proxy.idle()


async def test_an_answer_is_not_awaited_from_a_client_that_is_gone(embed: Embed) -> None:
    """The connection's end ends the wait for its buffers."""
    answered = asyncio.Event()

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        await client.answer(bytes(64 << 20))
        answered.set()
        client.close()

    proxy = await embed(serve)
    reader, writer = await proxy.connect()
    writer.write(CONNECT)
    async with asyncio.timeout(DEADLINE):
        await reader.readexactly(1)
        writer.transport.abort()
        await answered.wait()
    await proxy.idle()


async def test_a_crash_ends_its_own_connection_alone(embed: Embed) -> None:
    """A bug that one request meets is logged with its traceback, and the next request is served."""
    crash = [True]

    async def serve(request: Request | Refused, client: HeldClient) -> None:
        if crash.pop():
            raise ZeroDivisionError
        await client.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        client.close()

    proxy = await embed(serve)
    with capture_logs() as logs:
        async with asyncio.timeout(DEADLINE):
            for expected in (b"", b"HTTP/1.1 200 OK\r\n\r\n"):
                reader, writer = await proxy.connect()
                writer.write(CONNECT)
                assert await reader.read() == expected
                writer.close()
                crash.append(False)
    assert [(entry["event"], entry["exc_info"]) for entry in logs] == [("request_crashed", True)]
    await proxy.idle()
