"""Loopback proxies that behave, and that misbehave at any step of their protocol.

async with Peer(HttpProxy({"registry.test": "127.0.0.1"})) as proxy: ...
async with Peer(SocksProxy(fault=Fault("reply", reset))) as proxy: ...
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.net.peers import Client, Script


@dataclass(slots=True)
class Fault:
    """What a proxy does at `step` instead of going on; `reached` is set when it comes to that."""

    step: str
    action: Script
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class _Faulted(Exception):  # noqa: N818 - the end of a script, not an error
    """The fault has been played: the script ends here."""


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
