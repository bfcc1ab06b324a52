"""httpcore over a route, by TLS alone: a network backend whose connections are made by the route's own dialer.

    httpcore.AsyncConnectionPool(network_backend=OverRoute(dialer))   connect_tcp -> dialer.dial
                                                                      start_tls   -> tls.py

So what is asked this way walks the path of traffic: by interface, source, mark or proxy. What goes wrong is a DialError
until the connection stands, TLS included, and an OSError after; what is no HTTP is an httpcore.ProtocolError.

A connection closes itself when it has not been used for IDLE seconds: a pool that a reload has put aside holds none for
long, whoever still asks through it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, override

import httpcore

from towline.errors import DialError
from towline.net.dialer import Dialed, Dialer
from towline.net.edge import dial_error
from towline.net.tls import Tls
from towline.types import Phase, Target

KEPT = 10.0  # seconds without use for which a pool keeps a connection
IDLE = 12.0
"""Seconds without use after which one closes itself: more, as httpcore does not notice when one of HTTP/2 has ended."""
MOST = 16 * 1024 * 1024  # bytes that may come over one: tens of thousands of answers
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
    """One connection, through TLS (net/tls.py) from `start_tls` on."""

    def __init__(self, dialed: Dialed, ended: Callable[[_Stream], object]) -> None:
        self._dialed = dialed
        self._ended = ended
        self._tls: Tls
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
        self._tls = Tls(self._dialed, server_hostname or "", ssl_context, most=MOST)
        try:
            async with self._working(timeout):
                await self._tls.handshake()
        except BaseException as error:
            self.close()  # nobody else knows of it yet
            if isinstance(error, OSError):
                raise dial_error(error, Phase.TLS) from error
            raise
        return self

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        async with self._working(timeout):
            try:
                return await self._tls.read(max_bytes)
            except DialError:  # without a close_notify, or after too much
                return b""

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        async with self._working(timeout):
            await self._tls.write(buffer)

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
            return self._tls.session
        return info == "is_readable" and (self._dialed.sock.fileno() < 0 or self._tls.has_news)
