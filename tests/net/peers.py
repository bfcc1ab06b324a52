"""Loopback peers: targets, and the ways in which a peer misbehaves. proxies.py has the proxies.

    async with Peer(echo) as target: ...
    async with Peer(reset) as target: ...
    with silent_listener() as address: ...         # takes no SYN any more: connect(2) hangs

A peer plays a script, an async function of one Client, for every connection it accepts. When the script returns the
connection ends with FIN. `Peer` owns all of it: leaving the block closes listener, connections and tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from towline.net.wire import handshake, receive, send_all
from towline.types import Address

type Script = Callable[[Client], Awaitable[None]]

GARBAGE = bytes([2, *range(192, 255)])
"""Neither TLS, nor HTTP, nor SOCKS, from the first bytes on."""


@dataclass(slots=True)
class Client:
    """One accepted connection, as a script sees it. Every read and write raises OSError when the other side is gone."""

    sock: socket.socket
    _unread: bytes = b""

    async def read(self) -> bytes:
        """Whatever comes next, b"" at the end."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return await receive(self.sock)

    async def read_exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._unread) < size:
            self._unread += await self._more()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    async def read_head(self) -> bytes:
        """An HTTP head with its blank line."""
        while b"\r\n\r\n" not in self._unread:
            self._unread += await self._more()
        return await self.read_exactly(self._unread.index(b"\r\n\r\n") + 4)

    async def _more(self) -> bytes:
        if not (data := await receive(self.sock)):
            raise ConnectionResetError("the other side ended the connection early")
        return data

    async def send(self, data: bytes) -> None:
        """Send in as few segments as TCP likes."""
        await send_all(self.sock, data)

    async def send_bytewise(self, data: bytes) -> None:
        """Send every byte in a segment of its own, and let the other side run in between."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(data)):
            await self.send(data[position : position + 1])
            await asyncio.sleep(0)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Become the server of a TLS connection."""
        tls = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.sock = tls
        await handshake(tls)

    def reset(self) -> None:
        """End the connection with RST (SO_LINGER 0)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Peer:
    """A listener on loopback that plays `script` with everyone who connects."""

    def __init__(self, script: Script, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._script = script
        self._host = host
        self._port = port
        self.clients: list[Address] = []
        """Where connections came from, in order."""
        self._accepted: list[Client] = []

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, self._port), family=family, backlog=128)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(), name=f"peer at {self.address}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
        self._listener.close()
        for client in self._accepted:  # a script that was cancelled before it began closed nothing
            client.sock.close()

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port, *_ = self._listener.getsockname()
        return host, port

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.address[1]

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                sock, address = await loop.sock_accept(self._listener)
                self.clients.append(address[:2])
                client = Client(sock)
                self._accepted.append(client)
                group.create_task(self._play(client))

    async def _play(self, client: Client) -> None:
        try:
            await self._script(client)
        except OSError:
            return  # the other side is gone, and its test knows why
        finally:
            client.sock.close()


@contextlib.contextmanager
def silent_listener() -> Iterator[Address]:
    """An address where connect(2) neither succeeds nor fails: the accept queue is full, so Linux drops every SYN."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(3):  # a backlog of 0 holds one; the others are on the way when it is full
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address


def closed_port() -> int:
    """A port of 127.0.0.1 where nothing listens: taken by bind and given back."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# Targets


async def echo(client: Client) -> None:
    """Send everything back until the end."""
    while data := await client.read():
        await client.send(data)


def banner(data: bytes) -> Script:
    """A target that speaks first, and then echoes."""

    async def script(client: Client) -> None:
        await client.send(data)
        await echo(client)

    return script


# Faults


async def silence(client: Client) -> None:
    """Say nothing for ever, whatever comes."""
    while await client.read():
        pass
    await asyncio.Event().wait()


async def hang_up(client: Client) -> None:
    """End the connection."""


async def reset(client: Client) -> None:
    """End the connection with RST."""
    client.reset()


async def garbage(client: Client) -> None:
    """Answer with bytes of no protocol, and end."""
    await client.send(GARBAGE)


def says(data: bytes) -> Script:
    """Answer with `data` and stay silent."""

    async def action(client: Client) -> None:
        await client.send(data)
        await silence(client)

    return action


def repeats(data: bytes, *, pause: float = 0.0) -> Script:
    """Answer with `data` over and over until the other side leaves, `pause` seconds in between."""

    async def action(client: Client) -> None:
        while True:
            await client.send(data)
            await asyncio.sleep(pause)

    return action
