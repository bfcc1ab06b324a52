"""The judges of a schedule notice what they are there for: a byte changed, twice, left out, or another's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.ground import LOOPBACK, free_ports
from tests.faults.pattern import LINE, End, Errand, Served, Server, Visited, Way, visit
from tests.faults.schedule import History, check

ERRAND = Errand(Way.PLAIN, up=1000, down=300_000, half_closes=True)

type Spoil = Callable[[bytes], bytes]


def honest(data: bytes) -> bytes:
    """All of it, as it is."""
    return data


def changed(data: bytes) -> bytes:
    """One bit of the stream is another."""
    return data[:LINE] + bytes([data[LINE] ^ 1]) + data[LINE + 1 :]


def doubled(data: bytes) -> bytes:
    """A piece of the stream comes twice."""
    return data[: LINE + 100] + data[LINE:]


def shortened(data: bytes) -> bytes:
    """A byte of the stream is missing."""
    return data[:LINE] + data[LINE + 1 :]


async def visit_through(to_client: Spoil, to_server: Spoil) -> tuple[Visited, Served]:
    """A visit through a proxy that spoils what it passes on, and how both ends saw it."""

    async def pass_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spoil: Spoil) -> None:
        writer.write(spoil(await reader.read()))
        writer.write_eof()

    # After a half-close nothing in asyncio refers to a server's connection any more: it may be collected as garbage.
    serving: set[asyncio.Task[Any] | None] = set()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, port)
        async with asyncio.TaskGroup() as group:
            group.create_task(pass_all(reader, server_writer, to_server))
            group.create_task(pass_all(server_reader, writer, to_client))
        for each in (server_writer, writer):
            each.close()

    server = Server()
    tls = ssl.create_default_context()
    (port,) = free_ports(1)
    async with server.listening({Way.PLAIN: port}, tls), await asyncio.start_server(proxy, LOOPBACK, 0) as proxies:
        visited = await visit("it", ERRAND, proxies.sockets[0].getsockname(), port, tls, seconds=10)
    return visited, server.served[0]


async def test_an_honest_proxy_passes() -> None:
    """Where nothing is spoiled both ends have everything, and nothing is wrong."""
    visited, served = await visit_through(honest, honest)
    assert visited.end is End.WHOLE
    assert (visited.received, served.received) == (ERRAND.down, ERRAND.up)
    assert not list(check(History([visited], [served], after=[])))


@pytest.mark.parametrize("spoil", [changed, doubled, shortened])
async def test_what_is_spoiled_on_the_way_down_is_seen(spoil: Spoil) -> None:
    """The visitor notices."""
    visited, served = await visit_through(spoil, honest)
    (wrong,) = check(History([visited], [served], after=[]))
    assert wrong.startswith("it received other bytes than the server's from ")


@pytest.mark.parametrize("spoil", [changed, doubled, shortened])
async def test_what_is_spoiled_on_the_way_up_is_seen(spoil: Spoil) -> None:
    """The server notices."""
    visited, served = await visit_through(honest, spoil)
    (wrong,) = check(History([visited], [served], after=[]))
    assert wrong.startswith("connection 1 received other bytes than the visitor's from ")


async def test_a_fault_that_cuts_is_no_wrong() -> None:
    """A prefix is all that is asked."""
    visited, served = await visit_through(lambda data: data[: LINE + 1000], honest)
    assert visited.end is End.CUT
    assert not list(check(History([visited], [served], after=[])))


def seen(visit: str, number: int | None, end: End = End.WHOLE) -> Visited:
    """A visit as its visitor saw it."""
    return Visited(visit, ERRAND, end, number)


@pytest.mark.parametrize(
    ("history", "wrong"),
    [
        (
            History([seen("a", 1), seen("b", 2)], [Served(1, "b"), Served(2, "a")], after=[]),
            ["a was served by connection 1, which is that of b", "b was served by connection 2, which is that of a"],
        ),
        (History([seen("a", 1)], [Served(1, "a"), Served(2, "a")], after=[]), ["a reached the server 2 times"]),
        (History([], [Served(1)], after=[seen("b", None, End.CUT)]), ["when all faults were over, b ended cut"]),
        (History([], [], after=[], left="3 sockets"), ["3 sockets"]),
    ],
    ids=["mixed", "twice", "dead", "left"],
)
def test_the_checker_says_what_did_not_hold(history: History, wrong: list[str]) -> None:
    """One sentence each."""
    assert list(check(history)) == wrong
