"""Bytes over a non-blocking socket, plain or TLS: what a proxy dialer needs until the relay takes over.

asyncio's sock_recv and sock_sendall refuse an ssl.SSLSocket, and asyncio's own TLS hides the socket behind a transport
that does not give it back. So both kinds go one way here: try the call, and where it would block, wait and try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

RECEIVE_SIZE = 16384
"""Bytes per read: the most that a TLS record holds (RFC 8446 section 5.1). A read of less would leave decrypted bytes
inside the SSLSocket, where no selector sees them."""


async def send_all(sock: socket.socket, data: bytes) -> None:
    """Send the whole of `data`. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[await _when_ready(sock, partial(sock.send, rest), _writable) :]


async def receive(sock: socket.socket) -> bytes:
    """The next bytes, at most RECEIVE_SIZE, or b"" at the end of the stream. Raises OSError."""
    return await _when_ready(sock, partial(sock.recv, RECEIVE_SIZE), _readable)


async def hang_up(sock: socket.socket, *, linger: float) -> None:
    """End a connection with FIN and close it, its peer's bytes read and dropped until it has closed or time is up.

    A close with unread bytes would send RST (RFC 1122 4.2.2.13). `linger` is in seconds.
    """
    try:
        with contextlib.suppress(OSError):  # TimeoutError is one
            sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(linger):
                while await receive(sock):
                    pass
    finally:
        sock.close()


async def handshake(sock: ssl.SSLSocket) -> None:
    """The TLS handshake of a socket that was wrapped with `do_handshake_on_connect=False`. Raises OSError."""
    await _when_ready(sock, sock.do_handshake, _readable)


async def _when_ready[T](
    sock: socket.socket, call: Callable[[], T], ready: Callable[[socket.socket], Awaitable[None]]
) -> T:
    """Repeat `call` until it does not block; a plain socket waits for `ready`, TLS says itself which way it waits."""
    while True:
        try:
            return call()
        except ssl.SSLWantReadError:
            await _readable(sock)
        except ssl.SSLWantWriteError:
            await _writable(sock)
        except BlockingIOError:
            await ready(sock)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)
