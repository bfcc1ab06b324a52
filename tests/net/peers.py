"""Loopback peers: targets and proxies that behave, and the faults that make them misbehave at any step.

    async with Peer(echo) as target, Peer(HttpProxy(names)) as proxy: ...
    async with Peer(SocksProxy(names, fault=Fault("reply", reset))) as proxy: ...
    with silent_listener() as address: ...         # takes no SYN any more: connect(2) hangs

A peer plays a script, an async function of one Client, for every connection it accepts. When the script returns the
connection ends with FIN. `Peer` owns all of it: leaving the block closes listener, connections and tasks.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from towline.net.wire import handshake, receive, send_all
from towline.types import Address

type Script = Callable[[Client], Awaitable[None]]
type Action = Callable[[Client], Awaitable[None]]

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

    def __init__(self, script: Script, *, host: str = "127.0.0.1") -> None:
        self._script = script
        self._host = host
        self.clients: list[Address] = []
        """Where connections came from, in order."""

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, 0), family=family, backlog=128)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(), name=f"peer at {self.address}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
        self._listener.close()

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
                group.create_task(self._play(sock))

    async def _play(self, sock: socket.socket) -> None:
        client = Client(sock)
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


def says(data: bytes) -> Action:
    """Answer with `data` and stay silent."""

    async def action(client: Client) -> None:
        await client.send(data)
        await silence(client)

    return action


def repeats(data: bytes, *, pause: float = 0.0) -> Action:
    """Answer with `data` over and over until the other side leaves, `pause` seconds in between."""

    async def action(client: Client) -> None:
        while True:
            await client.send(data)
            await asyncio.sleep(pause)

    return action


@dataclass(slots=True)
class Fault:
    """What a proxy does at `step` instead of going on; `reached` is set when it comes to that."""

    step: str
    action: Action
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class _Faulted(Exception):  # noqa: N818 - the end of a script, not an error
    """The fault has been played: the script ends here."""


# Proxies


@dataclass(slots=True)
class _Proxy:
    """What both proxies share: names of their own, a fault, credentials, and the way they send a reply."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Names that the proxy resolves, to an IP literal each."""
    credentials: tuple[str, str] | None = None
    fault: Fault | None = None
    bytewise: bool = False
    """Send every reply byte by byte."""
    coalesce: bool = False
    """Send the reply and the target's first bytes in one segment."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Hosts (as spelt) and ports that were asked for."""

    async def _step(self, client: Client, name: str) -> None:
        if self.fault is not None and self.fault.step == name:
            self.fault.reached.set()
            await self.fault.action(client)
            raise _Faulted

    async def _reply(self, client: Client, data: bytes) -> None:
        await (client.send_bytewise(data) if self.bytewise else client.send(data))

    async def _connect(self, host: str, port: int) -> Client:
        """Connect to the target. Raises OSError, for a name without an entry too."""
        self.asked.append((host, port))
        try:
            ip = ipaddress.ip_address(self.names.get(host, host))
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, "no such host") from None
        upstream = Client(socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6))
        try:
            upstream.sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(upstream.sock, (str(ip), port))
        except BaseException:
            upstream.sock.close()
            raise
        return upstream

    async def _establish(self, client: Client, upstream: Client, reply: bytes) -> None:
        """Send the reply, and relay until one side ends."""
        with upstream.sock:
            if self.coalesce:
                reply += await upstream.read()
            await self._reply(client, reply)
            ways = {asyncio.create_task(_pass_on(client, upstream)), asyncio.create_task(_pass_on(upstream, client))}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(source: Client, sink: Client) -> None:
    while data := await source.read():
        await sink.send(data)


@dataclass(slots=True)
class HttpProxy(_Proxy):
    """A proxy that answers CONNECT; over TLS where it has a context. Steps: `tls`, `reply`."""

    tls: ssl.SSLContext | None = None
    heads: list[bytes] = field(default_factory=list)
    """The request heads that came."""

    async def __call__(self, client: Client) -> None:
        with contextlib.suppress(_Faulted):
            if self.tls is not None:
                await self._step(client, "tls")
                await client.start_tls(self.tls)
            await self._serve(client)

    async def _serve(self, client: Client) -> None:
        head = await client.read_head()
        self.heads.append(head)
        await self._step(client, "reply")
        if self.credentials is not None:
            basic = base64.b64encode(":".join(self.credentials).encode())
            if b"Proxy-Authorization: Basic " + basic not in head.split(b"\r\n"):
                await self._reply(client, b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        try:
            upstream = await self._connect(host.strip("[]"), int(port))
        except OSError:
            await self._reply(client, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        await self._establish(client, upstream, b"HTTP/1.1 200 Connection established\r\n\r\n")


@dataclass(slots=True)
class SocksProxy(_Proxy):
    """A SOCKS 5 proxy, written against RFC 1928 and 1929 apart from the client. Steps: `method`, `auth`, `reply`."""

    async def __call__(self, client: Client) -> None:
        with contextlib.suppress(_Faulted):
            await self._serve(client)

    async def _serve(self, client: Client) -> None:
        _, count = await client.read_exactly(2)
        methods = await client.read_exactly(count)
        await self._step(client, "method")
        wanted = 0 if self.credentials is None else 2
        await self._reply(client, bytes([5, wanted if wanted in methods else 0xFF]))
        if wanted not in methods:
            return
        if self.credentials is not None and not await self._check_password(client, self.credentials):
            return
        host, port = await self._request(client)
        await self._step(client, "reply")
        try:
            upstream = await self._connect(host, port)
        except ConnectionRefusedError:
            await self._reply(client, bytes([5, 5, 0, 1, 0, 0, 0, 0, 0, 0]))
        except OSError:
            await self._reply(client, bytes([5, 4]))  # short, as some servers are when they fail
        else:
            await self._establish(client, upstream, b"\x05\x00\x00\x03\x0aproxy.test\x1f\x90")

    async def _check_password(self, client: Client, credentials: tuple[str, str]) -> bool:
        _, size = await client.read_exactly(2)
        username = await client.read_exactly(size)
        (size,) = await client.read_exactly(1)
        password = await client.read_exactly(size)
        await self._step(client, "auth")
        good = (username.decode(), password.decode()) == credentials
        await self._reply(client, bytes([1, 0 if good else 1]))
        return good

    async def _request(self, client: Client) -> tuple[str, int]:
        _, _, _, kind = await client.read_exactly(4)
        if kind == 3:
            (size,) = await client.read_exactly(1)
            host = (await client.read_exactly(size)).decode()
        else:
            host = str(ipaddress.ip_address(await client.read_exactly(4 if kind == 1 else 16)))
        return host, int.from_bytes(await client.read_exactly(2))
