"""A server, and visits to it through a proxy, in which every byte can be checked.

    visitor                                                       server
      "VISIT UP DOWN" line, then UP bytes of stream "up VISIT"  -->
                              <-- "NUMBER" line, then DOWN bytes of stream "down NUMBER", then the end

Streams are pseudo-random and named, so that a byte of another connection, a byte twice and a byte left out all show.
NUMBER counts the server's connections: a first flight that is replayed makes some that never get a request. Each end
checks what it receives as it comes, and keeps no more of it than how much there was.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from tests.faults.faulty_proxy import BLOCK_PAGE

HOST = "pattern.corp.test"
LINE = 64  # bytes of a line, padded with spaces
BLOCK = 64 * 1024  # bytes of one read
ROUTES_OWN = (BLOCK_PAGE,)  # what a route says itself, and a visitor without TLS cannot tell from a server
LAST_WORDS = 10.0  # seconds that connections have to end when all visitors are gone
TICK = 0.02  # seconds that a slow visitor pauses after each read


class Way(StrEnum):
    """How a visit speaks."""

    TLS = "tls"
    PLAIN = "plain"
    GREETED = "greeted"
    """Plain, and the server speaks first."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a visitor is to do."""

    way: Way
    up: int
    """Bytes to send."""
    down: int
    """Bytes to get."""
    slow: bool = False
    """Read with pauses."""
    leaves_after: int | None = None
    """Go away, without a word, when so many bytes have come."""
    half_closes: bool = False
    """Send FIN after the last byte, and go on reading; TLS has no such thing here."""


class End(StrEnum):
    """How a visit ended."""

    WHOLE = "whole"
    """With every byte."""
    CUT = "cut"
    """With FIN or RST before that."""
    REFUSED = "refused"
    """Without a tunnel."""
    LEFT = "left"
    """By the visitor's own wish, or because its time was up."""


@dataclass(slots=True)
class Visited:
    """A visit as the visitor saw it."""

    visit: str
    errand: Errand
    end: End = End.LEFT
    number: int | None = None
    """The server's connection; None where no line came from it."""
    received: int = 0
    """Bytes of the server's stream."""
    problem: str | None = None
    """What was wrong with what came."""


@dataclass(slots=True)
class Served:
    """A connection as the server saw it."""

    number: int
    visit: str | None = None
    """None where no request came."""
    received: int = 0
    """Bytes of the visitor's stream."""
    problem: str | None = None


def stream(name: str, size: int) -> bytes:
    """The first `size` bytes of the stream of this name."""
    return hashlib.shake_128(name.encode()).digest(size)


def line(*words: object) -> bytes:
    """Words as a line of the protocol."""
    return " ".join(map(str, words)).ljust(LINE - 1).encode() + b"\n"


@dataclass(slots=True)
class Server:
    """Serves every way at a port of its own; `served` has all connections, once nobody is served any more."""

    served: list[Served] = field(default_factory=list)
    _open: dict[asyncio.Task[None], Served] = field(default_factory=dict)

    @asynccontextmanager
    async def listening(self, ports: dict[Way, int], tls: ssl.SSLContext) -> AsyncIterator[None]:
        """Serve while the body runs."""
        async with AsyncExitStack() as stack:
            for way, port in ports.items():
                context = tls if way is Way.TLS else None
                listener = await asyncio.start_server(partial(self._accept, way), "127.0.0.1", port, ssl=context)
                stack.callback(listener.close)
            yield
            if self._open:
                await asyncio.wait(self._open, timeout=LAST_WORDS)
            for task, served in self._open.items():
                served.problem = "no end"
                task.cancel()

    async def _accept(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served = self._open[task] = Served(len(self.served) + 1)
        self.served.append(served)
        try:
            await self._serve(served, way, reader, writer)
        except* (OSError, EOFError):
            pass  # visitors leave, and routes break
        finally:
            del self._open[task]
            writer.close()

    async def _serve(
        self, served: Served, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if way is Way.GREETED:
            writer.write(line(served.number))
        request = (await reader.readexactly(LINE)).split()
        if len(request) != 3:
            served.problem = f"no request: {request!r}"
            return
        served.visit = request[0].decode()
        up, down = map(int, request[1:])
        if way is not Way.GREETED:
            writer.write(line(served.number))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(served, up, reader, to_the_end=way is not Way.TLS))
            group.create_task(self._send(served, down, writer))

    async def _receive(self, served: Served, up: int, reader: asyncio.StreamReader, *, to_the_end: bool) -> None:
        expected = stream(f"up {served.visit}", up)
        while (to_the_end or served.received < up) and (data := await reader.read(BLOCK)):
            if not expected.startswith(data, served.received):
                served.problem = f"other bytes than the visitor's from {served.received} on"
            served.received += len(data)

    async def _send(self, served: Served, down: int, writer: asyncio.StreamWriter) -> None:
        writer.write(stream(f"down {served.number}", down))
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def visit(
    name: str, errand: Errand, proxy: tuple[str, int], port: int, tls: ssl.SSLContext, *, seconds: float
) -> Visited:
    """One visit through `proxy`, to the server's `port`; it leaves when its time is up."""
    visited = Visited(name, errand)
    try:
        async with asyncio.timeout(seconds):
            await _visit(visited, proxy, port, tls)
    except TimeoutError:
        visited.end = End.LEFT
    except (OSError, EOFError):
        visited.end = End.CUT
    except ValueError as error:
        visited.problem = f"no line of the server's: {error}"
    return visited


async def _visit(visited: Visited, proxy: tuple[str, int], port: int, tls: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(*proxy)
    try:
        writer.write(f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            visited.end = End.REFUSED
            return
        errand = visited.errand
        if errand.way is Way.TLS:
            await writer.start_tls(tls, server_hostname=HOST)
        writer.write(line(visited.visit, errand.up, errand.down) + stream(f"up {visited.visit}", errand.up))
        if errand.half_closes and writer.can_write_eof():
            writer.write_eof()
        await _read(visited, reader)
    finally:
        # Without a word: RST where something is unread, FIN else.
        writer.transport.abort()


async def _read(visited: Visited, reader: asyncio.StreamReader) -> None:
    errand = visited.errand
    first = await reader.readexactly(LINE)
    if any(words.startswith(first) for words in ROUTES_OWN):
        visited.end = End.CUT
        return
    visited.number = int(first)
    expected = stream(f"down {visited.number}", errand.down)
    while data := await reader.read(BLOCK):
        if not expected.startswith(data, visited.received):
            visited.problem = f"other bytes than the server's from {visited.received} on"
        visited.received += len(data)
        if errand.leaves_after is not None and visited.received >= errand.leaves_after:
            return
        if errand.slow:
            await asyncio.sleep(TICK)
    visited.end = End.WHOLE if visited.received == errand.down else End.CUT
