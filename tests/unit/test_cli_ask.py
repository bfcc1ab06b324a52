from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.web.fakes import EXPLAINED, FakeRunning

from towline.admin.serve import AdminServer
from towline.cli.ask import ask
from towline.errors import AdminError
from towline.types import Address

type Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def stranger(body: bytes) -> AsyncIterator[Address]:
    """A server that answers everything with `body` and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


async def asked(address: Address, path: str = "/api/v1/status") -> dict[str, object]:
    """`ask` beside the loop that answers."""
    return await asyncio.to_thread(ask, address, path)


@pytest.fixture
async def admin() -> AsyncIterator[Address]:
    """The address of a real admin server."""
    server = AdminServer.start(FakeRunning(), ("127.0.0.1", 0))
    yield server.address
    await server.stop()


async def test_answer_is_the_object(admin: Address) -> None:
    """What the admin address gives, parsed."""
    assert (await asked(admin))["version"] == "1.2.3"
    assert await asked(admin, "/api/v1/explain?host=ghcr.io") == EXPLAINED


async def test_proxy_variables_are_not_followed(admin: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell whose http_proxy points to Towline, or to nowhere, asks the admin address directly."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await asked(admin))["version"] == "1.2.3"


async def test_refusal_has_its_reason(admin: Address) -> None:
    """A 4xx is told in the words of the answer."""
    with pytest.raises(AdminError, match="the IPv4 address is not in its canonical form"):
        await asked(admin, "/api/v1/explain?host=127.1")


async def test_nobody_there(admin: Address) -> None:
    """Where, why, and what to do."""
    with pytest.raises(AdminError) as caught:
        await asked(("127.0.0.1", 1))
    assert str(caught.value) == (
        "no Towline answers at 127.0.0.1:1: Connection refused\n"
        "hint: start it with `towline run`, or name its admin address with --admin"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\n\r\n[1]",
        b"HTTP/1.1 200 OK\r\n\r\n\xff",
        b"HTTP/1.1 200 OK\r\n\r\nnull",
        b"HTTP/1.1 404 Not Found\r\n\r\n404 page not found",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"",
    ],
)
async def test_stranger_is_told(body: bytes) -> None:
    """Something else on that port is not mistaken for Towline, and its text is not shown."""
    async with stranger(body) as address:
        with pytest.raises(AdminError, match=r"is not a Towline|no Towline answers") as caught:
            await asked(address)
    assert "OpenSSH" not in str(caught.value)


async def test_refusal_of_a_stranger_is_escaped() -> None:
    """An error text from the other side drives no terminal."""
    body = b'HTTP/1.1 500 x\r\n\r\n{"error": "\\u001b[2Jgone"}'
    async with stranger(body) as address:
        with pytest.raises(AdminError) as caught:
            await asked(address)
    assert str(caught.value) == r"\x1b[2Jgone"
