"""httpcore over a route: a network backend whose connections are made by the route's own dialer.

    httpcore.AsyncConnectionPool(network_backend=OverRoute(dialer))   connect_tcp -> dialer.dial
                                                                      start_tls   -> TLS in memory

So what is asked this way walks the path of traffic: by interface, source, mark or proxy. What goes wrong is a DialError
until the connection stands, TLS included, and an OSError after; what is no HTTP is an httpcore.ProtocolError.

A connection closes itself when it has not been used for IDLE seconds: a pool that a reload has put aside holds none for
long, whoever still asks through it.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, override

import httpcore

from towline.net.dialer import Dialed, Dialer
from towline.net.edge import dial_error
from towline.net.wire import receive, send_all
from towline.types import Phase, Target

KEPT = 10.0  # seconds without use for which a pool keeps a connection
IDLE = 12.0
"""Seconds without use after which one closes itself: more, as httpcore does not notice when one of HTTP/2 has ended."""
DIAL_TIME = 10.0  # seconds for a dial where the request sets no time


class OverRoute(httpcore.AsyncNetworkBackend):
    """Makes connections over the route of `dialer`, and owns them."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._open: set[_Stream] = set()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        deadline = asyncio.get_running_loop().time() + (timeout or DIAL_TIME)
        stream = _Stream(await self._dialer.dial(Target(host, port), deadline=deadline), self._open.discard)
        self._open.add(stream)
        return stream

    def close(self) -> None:
        """Close every connection, those that are at work as soon as their requests are cancelled."""
        for stream in list(self._open):
            stream.retire()


class _Stream(httpcore.AsyncNetworkStream):
    """One connection: bytes as they are until `start_tls`, from then on through TLS.

    In memory, not by wrap_socket: the connection may be TLS already, to an HTTPS proxy, and have early bytes.
    """

    def __init__(self, dialed: Dialed, ended: Callable[[_Stream], object]) -> None:
        self._dialed = dialed
        self._ended = ended
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._sending = asyncio.Lock()  # of a request that is written and a record that a read has called for
        self._calls = 0
        self._patience = IDLE
        self._idle = asyncio.get_running_loop().call_later(self._patience, self.close)

    def retire(self) -> None:
        """Close as soon as no call is under way."""
        self._patience = 0.0
        if not self._calls:
            self.close()

    @override
    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._tls = ssl_context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        try:
            async with self._working(timeout):
                await self._through_tls(self._tls.do_handshake)
        except BaseException as error:
            self.close()  # nobody else knows of it yet
            if isinstance(error, OSError):
                raise dial_error(error, Phase.TLS) from error
            raise
        return self

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        async with self._working(timeout):
            if self._tls is None:
                return await self._receive()
            try:
                return await self._through_tls(partial(self._tls.read, max_bytes))
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        async with self._working(timeout):
            if self._tls is None:
                await self._send(buffer)
            elif buffer:
                await self._through_tls(partial(self._tls.write, buffer))

    async def _through_tls[T](self, call: Callable[[], T]) -> T:
        """Repeat `call` until TLS has what it needs of the server; what it has for the server is sent."""
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                await self._send(self._outgoing.read())
                if data := await self._receive():
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self._send(self._outgoing.read())
                return result

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await send_all(self._dialed.sock, data)

    async def _receive(self) -> bytes:
        early, self._dialed.early = self._dialed.early, b""
        return early or await receive(self._dialed.sock)

    @asynccontextmanager
    async def _working(self, timeout: float | None) -> AsyncIterator[None]:
        """A call on this connection, which is idle no more and then begins to be."""
        self._idle.cancel()
        self._calls += 1
        try:
            async with asyncio.timeout(timeout):
                yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.cancel()
                self._idle = asyncio.get_running_loop().call_later(self._patience, self.close)

    @override
    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._idle.cancel()
        self._dialed.close()
        self._ended(self)

    @override
    def get_extra_info(self, info: str) -> Any:
        """`ssl_object` tells the protocol agreed on; `is_readable`, that an idle connection has ended, or will."""
        if info == "ssl_object":
            return self._tls
        return info == "is_readable" and _is_readable(self._dialed.sock)


def _is_readable(sock: socket.socket) -> bool:
    """Whether a read would return at once; so it is, too, for a socket that is closed."""
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
