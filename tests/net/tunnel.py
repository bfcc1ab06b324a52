"""A relay under test between two real TCP connections on loopback: the test holds both far ends.

client (test) ══ TCP ══ relay ══ TCP or TLS ══ server (test)
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme

from towline.net.ends import End
from towline.net.pipes import PipePool
from towline.net.relay import Relay, RelayEnd, RelayLimits

LIMITS = RelayLimits(linger=5.0, half_closed=60.0)
"""LimitsPolicy's defaults, in seconds: longer than a test waits, so that a tunnel ends for the reason under test."""

DEADLINE = 4.0  # seconds within which anything that a test awaits has to happen


def tcp_pair(buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, non-blocking; `buffer` is the size of every queue in bytes, None the system's."""
    near = socket.socket()
    with socket.socket() as listener:
        if buffer is not None:
            for sock in (listener, near):  # what listens hands its sizes on to what it accepts
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


class TlsPairs:
    """Makes connections as tcp_pair does, with TLS over them: (the relay's end, the server's end)."""

    def __init__(self) -> None:
        ca = trustme.CA()
        self._near = ssl.create_default_context()
        ca.configure_trust(self._near)
        self._far = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("proxy.test").configure_cert(self._far)

    async def __call__(self, buffer: int | None = None) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
        """Connect and shake hands."""
        near, far = tcp_pair(buffer)
        near_tls = self._near.wrap_socket(near, server_hostname="proxy.test", do_handshake_on_connect=False)
        far_tls = self._far.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
        await asyncio.gather(_tls(near_tls, near_tls.do_handshake), _tls(far_tls, far_tls.do_handshake))
        return near_tls, far_tls


async def _tls[T](sock: ssl.SSLSocket, operation: Callable[[], T]) -> T:
    """Repeat a non-blocking TLS operation until it is through."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return operation()
        except ssl.SSLWantReadError:
            add, remove = loop.add_reader, loop.remove_reader
        except ssl.SSLWantWriteError:
            add, remove = loop.add_writer, loop.remove_writer
        ready = asyncio.Event()
        add(sock, ready.set)
        try:
            await ready.wait()
        finally:
            remove(sock)


async def send(sock: socket.socket, data: bytes) -> None:
    """Send all of `data`."""
    async with asyncio.timeout(DEADLINE):
        if isinstance(sock, ssl.SSLSocket):
            rest = memoryview(data)
            while rest:
                rest = rest[await _tls(sock, partial(sock.send, rest)) :]
        else:
            await asyncio.get_running_loop().sock_sendall(sock, data)


async def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or fewer where the peer ends before."""
    received = bytearray()
    async with asyncio.timeout(DEADLINE):
        while len(received) < size:
            want = min(size - len(received), 1 << 20)
            if isinstance(sock, ssl.SSLSocket):
                data = await _tls(sock, partial(sock.recv, want))
            else:
                data = await asyncio.get_running_loop().sock_recv(sock, want)
            if not data:
                break
            received += data
    return bytes(received)


async def receive_all(sock: socket.socket) -> bytes:
    """Everything until FIN. Raises ConnectionResetError where the peer ends with RST."""
    return await receive(sock, 1 << 40)


def finish(sock: socket.socket) -> None:
    """Send FIN and go on reading."""
    socket.socket.shutdown(sock, socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """Close with RST, whatever is queued."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for is the relay's state, which announces nothing
            await asyncio.sleep(0)


@dataclass(slots=True)
class Tunnel:
    """A running relay and the far ends of its two connections."""

    client: socket.socket
    server: socket.socket
    relay: Relay
    running: asyncio.Task[RelayEnd]

    @classmethod
    def start(
        cls,
        pipes: PipePool | None,
        *,
        upstream: tuple[socket.socket, socket.socket] | None = None,
        limits: RelayLimits = LIMITS,
        to_upstream: bytes = b"",
        to_client: bytes = b"",
        buffer: int | None = None,
        on_end: Callable[[End], None] | None = None,
    ) -> Tunnel:
        """Connect both sides and run. An `upstream` connected already is (the relay's end, the server's end)."""
        client, client_leg = tcp_pair(buffer)
        upstream_leg, server = upstream or tcp_pair(buffer)
        relay = Relay(
            client_leg,
            upstream_leg,
            to_upstream=to_upstream,
            to_client=to_client,
            limits=limits,
            pipes=pipes,
            on_end=on_end,
        )
        return cls(client, server, relay, asyncio.create_task(relay.run()))

    async def end(self) -> RelayEnd:
        """The relay's end, which has to come without help."""
        async with asyncio.timeout(DEADLINE):
            return await asyncio.shield(self.running)

    async def block_client(self) -> bytes:
        """Send from the server until the relay holds bytes that the client does not take; return all that was sent."""
        block = bytes(range(256)) * 256
        sent = bytearray()
        async with asyncio.timeout(DEADLINE):
            while not self.relay._down._carrier.held:
                with suppress(BlockingIOError):
                    sent += block[: self.server.send(block)]
                await asyncio.sleep(0)
        return bytes(sent)

    async def close(self) -> None:
        """Close whatever is open; a relay that still runs is cancelled."""
        self.running.cancel()
        await asyncio.wait([self.running])
        self.client.close()
        self.server.close()


type Start = Callable[..., Tunnel]
"""Tunnel.start with the pool filled in."""
