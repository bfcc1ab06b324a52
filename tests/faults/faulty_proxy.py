"""An HTTP proxy that serves CONNECT well, or badly in the way that it is told: the bad route of the fault tests.

A program of the standard library alone: faulty_proxy.py ADDRESS PORT SOCKET [HOST]. With a host it leads every tunnel
there, whatever name the client asks for. Orders come over the Unix socket, one JSON object a line, and each is answered
with the counts after it:

    {"fault": "reset", "after": 6000000}    new tunnels misbehave so; see the tables FAULTS and CUTS
    {"fault": "refuse"}                     stop listening
    {"freeze": "all"}                       live tunnels stop moving, and hold their sockets; "one": the busiest of them
    {"heal": true}                          serve well, and abort what stands still
    {}                                      count only

    {"tunnels": open now, "hits": tunnels that misbehaved, "bytes": what went to clients} since the last "heal"
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

ESTABLISHED = b"HTTP/1.1 200 OK\r\n\r\n"
BLOCK = 256 * 1024  # bytes read at once, so that this proxy is not what limits a pull
DRIP_PAUSE = 1.0  # seconds between two bytes of a reply that drips
TRICKLE = 5000  # bytes a second of a tunnel that trickles
TRICKLE_TURN = 0.2  # seconds between two portions of a trickle
GARBAGE = bytes(range(0x80, 0xC0)) + b"\r\n\r\n"
BLOCK_PAGE = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<h1>Not allowed</h1>"
HANDSHAKE_FAILURE = bytes.fromhex("15 0303 0002 02 28")  # a fatal alert (RFC 8446 6.2)
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


@dataclass(frozen=True)
class Fault:
    """What new tunnels are to do; `after` is the bytes to the client after which a cut comes."""

    kind: str | None = None
    after: int = 0


class Tunnel:
    """One client's connection, and what becomes of it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._fault = proxy.fault
        self._reader = reader
        self._writer = writer
        self._upstream: asyncio.StreamWriter | None = None
        self._moves = asyncio.Event()
        self._moves.set()
        self.to_client = 0
        self.misbehaves = False

    async def serve(self) -> None:
        """From the CONNECT to the end."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            if fault := FAULTS.get(self._fault.kind or ""):
                self.misbehave()
                await fault(self)
            else:
                await self._relay(head.split()[1].decode())
        finally:
            for writer in filter(None, (self._upstream, self._writer)):
                writer.close()

    async def _relay(self, authority: str) -> None:
        host, _, port = authority.rpartition(":")
        reader, self._upstream = await asyncio.open_connection(self._proxy.host or host, int(port), limit=BLOCK)
        await self.say(ESTABLISHED)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forward(self._reader, self._upstream))
            group.create_task(self._backward(reader))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(BLOCK):
            await self._moves.wait()
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _backward(self, reader: asyncio.StreamReader) -> None:
        cut = CUTS.get(self._fault.kind or "")
        while data := await reader.read(BLOCK):
            await self._moves.wait()
            if cut and self.to_client + len(data) >= self._fault.after:
                before = self._fault.after - self.to_client
                await self.say(data[:before])
                self.misbehave()
                await cut(self, data[before:], reader)
                break
            await self.say(data)
        self._writer.write_eof()

    async def say(self, data: bytes) -> None:
        """Send to the client."""
        self.to_client += len(data)
        self._proxy.bytes += len(data)
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self) -> None:
        """Wait for the client's first bytes, its ClientHello, so that a close leaves none of them unread."""
        await self._reader.read(BLOCK)

    def misbehave(self) -> None:
        """Be counted as a tunnel that misbehaves, once."""
        self._proxy.hits += not self.misbehaves
        self.misbehaves = True

    def freeze(self) -> None:
        """Move nothing from now on, and hold the sockets."""
        self.misbehave()
        self._moves.clear()

    async def stand_still(self) -> None:
        """Freeze for ever."""
        self.freeze()
        await asyncio.Event().wait()

    def reset(self) -> None:
        """End the client's connection with RST."""
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self._writer.transport.abort()


async def _silent(tunnel: Tunnel) -> None:
    await tunnel.stand_still()


async def _closes(_: Tunnel) -> None:
    pass


def _answers(answer: bytes) -> Callable[[Tunnel], Awaitable[None]]:
    async def answers(tunnel: Tunnel) -> None:
        await tunnel.say(answer)

    return answers


async def _drips(tunnel: Tunnel) -> None:
    for byte in ESTABLISHED:
        await tunnel.say(bytes([byte]))
        await asyncio.sleep(DRIP_PAUSE)


async def _silent_after_200(tunnel: Tunnel) -> None:
    await tunnel.say(ESTABLISHED)
    await tunnel.stand_still()


def _hears_then(last_words: bytes = b"", *, reset: bool = False) -> Callable[[Tunnel], Awaitable[None]]:
    async def hears_then(tunnel: Tunnel) -> None:
        await tunnel.say(ESTABLISHED)
        await tunnel.hear()
        await tunnel.say(last_words)
        if reset:
            tunnel.reset()

    return hears_then


FAULTS: dict[str, Callable[[Tunnel], Awaitable[None]]] = {
    "silent": _silent,  # the connection is accepted, and that is all
    "close": _closes,
    "407": _answers(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
    "502": _answers(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
    "garbage": _answers(GARBAGE),
    "drip": _drips,
    "200-silent": _silent_after_200,
    "200-close": _hears_then(),
    "200-reset": _hears_then(reset=True),
    "200-page": _hears_then(BLOCK_PAGE),
    "200-alert": _hears_then(HANDSHAKE_FAILURE),
}
"""Before the first byte of a server: all of them without one."""

type Cut = Callable[[Tunnel, bytes, asyncio.StreamReader], Awaitable[None]]


async def _resets(tunnel: Tunnel, _: bytes, __: asyncio.StreamReader) -> None:
    tunnel.reset()


async def _ends(_: Tunnel, __: bytes, ___: asyncio.StreamReader) -> None:
    """Nothing more is said; what follows is the FIN."""


async def _stalls(tunnel: Tunnel, _: bytes, __: asyncio.StreamReader) -> None:
    await tunnel.stand_still()


async def _trickles(tunnel: Tunnel, rest: bytes, reader: asyncio.StreamReader) -> None:
    portion = int(TRICKLE * TRICKLE_TURN)
    while rest or (rest := await reader.read(BLOCK)):
        await tunnel.say(rest[:portion])
        rest = rest[portion:]
        await asyncio.sleep(TRICKLE_TURN)


CUTS: dict[str, Cut] = {"reset": _resets, "fin": _ends, "stall": _stalls, "trickle": _trickles}
"""After that many bytes from the server; each gets what was read beyond them, and where more comes from."""


class Proxy:
    """The listener and its tunnels."""

    def __init__(self, address: tuple[str, int], host: str | None) -> None:
        self._address = address
        self.host = host
        self.fault = Fault()
        self.hits = 0
        self.bytes = 0
        self._tunnels: dict[Tunnel, asyncio.Task[None]] = {}
        self._listener: asyncio.Server | None = None

    async def listen(self) -> None:
        """Accept connections, or go on doing so."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, *self._address, limit=BLOCK)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnel = Tunnel(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._tunnels[tunnel] = task
        try:
            await tunnel.serve()
        except* (OSError, EOFError):
            pass  # connections that break are what this program is about
        finally:
            del self._tunnels[tunnel]

    async def obey(self, order: dict[str, Any]) -> dict[str, int]:
        """Carry out one order; the counts after it."""
        if order.get("heal"):
            await self._heal()
        if kind := order.get("fault"):
            self.fault = Fault(kind, order.get("after", 0))
            if kind == "refuse":
                self._stop_listening()
        if which := order.get("freeze"):
            self._freeze(only_one=which == "one")
        return {"tunnels": len(self._tunnels), "hits": self.hits, "bytes": self.bytes}

    async def _heal(self) -> None:
        self.fault = Fault()
        self.hits = self.bytes = 0
        for tunnel, task in self._tunnels.items():
            if tunnel.misbehaves:
                task.cancel()
        await self.listen()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _freeze(self, *, only_one: bool) -> None:
        live = sorted(self._tunnels, key=lambda tunnel: tunnel.to_client, reverse=True)
        for tunnel in live[:1] if only_one else live:
            tunnel.freeze()

    async def take_orders(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One controller, until it leaves."""
        while line := await reader.readline():
            counts = await self.obey(json.loads(line))
            writer.write(json.dumps(counts).encode() + b"\n")
        writer.close()


async def main(address: str, port: str, orders: str, host: str | None = None) -> None:
    """Serve until killed."""
    proxy = Proxy((address, int(port)), host)
    await proxy.listen()
    async with await asyncio.start_unix_server(proxy.take_orders, orders) as controller:
        await controller.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
