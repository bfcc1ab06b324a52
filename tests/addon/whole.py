"""A whole proxy on loopback, in the test's own loop: signals, listeners and tunnels are real, files are the test's.

Routes are told apart by what upstream sees: `direct` comes from 127.0.0.1, `other` from 127.0.0.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from structlog.testing import capture_logs
from structlog.typing import EventDict
from tests.addon.embedded import DEADLINE, Listener

from towline.config import Config, parse
from towline.proxy.master import LeanMaster
from towline.service import Service
from towline.types import Address, Target

DIRECT, OTHER = "direct: {}", "other: {source: 127.0.0.2}"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def until(done: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait for something that nothing here announces."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@dataclass
class Upstream:
    """Echoes, and says where its connections came from."""

    port: int = 0
    peers: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peername")[0])
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@dataclass
class Proxy:
    """A running proxy; `text` is its configuration file as a reload finds it."""

    text: str
    passed: dict[Address, int]
    port: int
    listener: Listener = field(default_factory=Listener)
    service: Service = field(init=False)
    master: LeanMaster = field(init=False)
    serving: asyncio.Task[None] = field(init=False)

    def load(self) -> Config:
        return parse(self.text, place="towline.yaml", base=Path(), environ={}, discovered=())

    async def start(self) -> None:
        config = self.load()
        self.service = Service(config)
        self.master = LeanMaster(self.service, config.listen, self.listener, passed=self.passed)

        async def reload() -> None:
            await self.service.reload(self.load, self.master.listen_on)

        self.serving = asyncio.get_running_loop().create_task(self.master.serve(reload))
        await until(lambda: self.listener.told == ["ready"] or self.serving.done())

    async def reload(self, text: str) -> list[EventDict]:
        """Reload with this file; what was logged."""
        self.text = text
        count = self.service.snapshot().reload.count
        with capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: self.service.snapshot().reload.count > count)
        return logs

    async def connect(self, port: int | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port or self.port)

    async def end(self) -> None:
        if not self.serving.done():
            self.master.stop()
            self.master.stop()
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(DEADLINE):
                await self.serving
        self.service.close()


type StartProxy = Callable[..., Awaitable[Proxy]]


class Tunnel:
    """A client's tunnel to the upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def through(cls, proxy: Proxy, upstream: Upstream) -> Tunnel:
        """One that has been used."""
        reader, writer = await proxy.connect()
        writer.write(connect_to(upstream))
        async with asyncio.timeout(DEADLINE):
            assert await reader.readexactly(len(ESTABLISHED)) == ESTABLISHED
        tunnel = cls(reader, writer)
        await tunnel.echo()
        return tunnel

    async def echo(self, data: bytes = b"ping") -> None:
        """Send, and have it back."""
        async with asyncio.timeout(DEADLINE):
            self._writer.write(data)
            await self._writer.drain()
            assert await self._reader.readexactly(len(data)) == data

    async def ends(self) -> None:
        """Wait for upstream's FIN; a reset raises."""
        async with asyncio.timeout(DEADLINE):
            assert await self._reader.read() == b""
        self._writer.close()

    def close(self) -> None:
        self._writer.close()


def connect_to(upstream: Upstream) -> bytes:
    """The request for a tunnel."""
    target = Target("127.0.0.1", upstream.port).authority
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


async def status_of(proxy: Proxy, upstream: Upstream) -> int:
    """How a request for a tunnel is answered."""
    reader, writer = await proxy.connect()
    writer.write(connect_to(upstream))
    async with asyncio.timeout(DEADLINE):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def configuration(upstream: Upstream, *routes: str, listen: str, more: str = "") -> str:
    """A file with these routes, which may reach the upstream."""
    return (
        f"listen: [{listen}]\nadmin: null\nroutes: {{{', '.join(routes)}}}\n"
        f"policy: {{unlisted: route, ports: [{upstream.port}], private_targets: [127.0.0.1]}}\n{more}"
    )
