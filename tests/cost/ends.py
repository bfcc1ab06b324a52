"""Both far ends of a proxy's tunnels, in a thread that does a step and waits until the proxy has done what follows.

So there is one order of events, whatever else the machine does: what the proxy meets in each turn of its loop, and
therefore what it calls, is the same in every run.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

DEADLINE = 10.0  # seconds for one step; a millisecond is usual
ESTABLISHED = b"HTTP/1.1 200 "

type Pair = tuple[socket.socket, socket.socket]
"""The client's end of a tunnel, and the server's."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What goes over a tunnel."""

    name: str
    flight: bytes
    """From the client, first."""
    answer: bytes
    last: bytes = b""
    """From each side before its FIN."""


def client_hello() -> bytes:
    """The first flight of a real client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="registry.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


ONE_BYTE = Exchange("one byte", b"x", b"x")
TLS = Exchange(
    "a TLS handshake",
    client_hello(),
    answer=b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",  # a record in which a ServerHello begins
    last=b"\x17\x03\x03\x00\x13" + bytes(19),  # the size of a close_notify of TLS 1.3
)


class Loop:
    """The proxy's event loop, which says when it has nothing to do."""

    def __init__(self, loop: asyncio.SelectorEventLoop) -> None:
        selector = loop._selector  # type: ignore[attr-defined]
        self._select: Callable[[float | None], object] = selector.select
        self._ready = select.poll()
        self._ready.register(selector.fileno(), select.POLLIN)  # an epoll is readable itself while it has events
        self._waits = False
        selector.select = self._watched_select

    def _watched_select(self, timeout: float | None = None) -> object:
        self._waits = timeout != 0
        try:
            return self._select(timeout)
        finally:
            self._waits = False

    def settle(self) -> None:
        """Wait, in another thread, until it waits."""
        until = time.monotonic() + DEADLINE
        while not self._waits or self._ready.poll(0):
            assert time.monotonic() < until, "the loop does not come to rest"
            time.sleep(0.0001)


class Ends:
    """A client of the proxy, and the server that all its tunnels lead to."""

    def __init__(self, proxy: tuple[str, int], listener: socket.socket, loop: Loop) -> None:
        self._proxy = proxy
        self._listener = listener
        self._settle = loop.settle
        host, port = listener.getsockname()
        self._request = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()

    def churn(self, tunnels: int, exchange: Exchange) -> None:
        """Open, use and close so many, one after the other."""
        for _ in range(tunnels):
            self.close(self.open(exchange), exchange)

    def open(self, exchange: Exchange) -> Pair:
        """A tunnel that has been used."""
        client = socket.create_connection(self._proxy, DEADLINE)
        self._settle()
        self._send(client, self._request)
        server, _ = self._listener.accept()
        server.settimeout(DEADLINE)
        assert client.recv(1000).startswith(ESTABLISHED)
        self._send(client, exchange.flight)
        assert receive(server, len(exchange.flight)) == exchange.flight
        self._send(server, exchange.answer)
        assert receive(client, len(exchange.answer)) == exchange.answer
        return client, server

    def close(self, pair: Pair, exchange: Exchange) -> None:
        """Close a tunnel as clients do that are done with it."""
        client, server = pair
        with client, server:
            for near, far in ((client, server), (server, client)):
                self._send(near, exchange.last)
                near.shutdown(socket.SHUT_WR)
                self._settle()
                assert receive(far, len(exchange.last) + 1) == exchange.last

    def _send(self, sock: socket.socket, data: bytes) -> None:
        sock.sendall(data)
        self._settle()


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes; fewer where the other end closes before."""
    found = b""
    while len(found) < size and (data := sock.recv(size - len(found))):
        found += data
    return found
