"""Bytes over plain and TLS sockets, against a peer in a thread that uses blocking calls."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import trustme

from towline.net.wire import RECEIVE_SIZE, handshake, receive, send_all

DATA = bytes(position % 253 for position in range(3_000_000))  # more than socket buffers hold


@contextmanager
def pair(*, tls: bool) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our non-blocking end and the peer's blocking end of a connection; TLS is not shaken hands on yet."""
    near, far = socket.socketpair()
    near.setblocking(False)
    if tls:
        authority = trustme.CA()
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("proxy.test").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        near = client.wrap_socket(near, do_handshake_on_connect=False, server_hostname="proxy.test")
        far = server.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
    with near, far:
        yield near, far


def read_all(sock: socket.socket) -> bytes:
    """Shake hands where it is TLS, and read to the end, in a thread."""
    sock.settimeout(30)
    if isinstance(sock, ssl.SSLSocket):
        sock.do_handshake()
    received = bytearray()
    while chunk := sock.recv(65536):
        received += chunk
    return bytes(received)


def write_all(sock: socket.socket) -> None:
    """Shake hands where it is TLS, send DATA and end, in a thread."""
    sock.settimeout(30)
    if isinstance(sock, ssl.SSLSocket):
        sock.do_handshake()
    sock.sendall(DATA)
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_sends_more_than_the_buffers_hold(tls: bool) -> None:
    """A send waits for a slow reader as often as it takes."""
    with pair(tls=tls) as (near, far), ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read_all, far)
        if isinstance(near, ssl.SSLSocket):
            await handshake(near)
        await send_all(near, DATA)
        near.shutdown(socket.SHUT_WR)
        assert await asyncio.wrap_future(reading) == DATA


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_receives_to_the_end(tls: bool) -> None:
    """Reads are bounded, whole, and end with b""; no decrypted byte hides in the SSLSocket after one."""
    with pair(tls=tls) as (near, far), ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write_all, far)
        if isinstance(near, ssl.SSLSocket):
            await handshake(near)
        received = bytearray()
        while chunk := await receive(near):
            assert len(chunk) <= RECEIVE_SIZE
            assert not isinstance(near, ssl.SSLSocket) or near.pending() == 0
            received += chunk
        await asyncio.wrap_future(writing)
    assert received == DATA


async def test_leaves_no_watcher_behind_when_cancelled() -> None:
    """After cancellation the loop watches the descriptor no more."""
    loop = asyncio.get_running_loop()
    with pair(tls=False) as (near, _):
        task = asyncio.create_task(receive(near))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.remove_reader(near) is False
