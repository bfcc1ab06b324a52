"""The hand-off: takes the client's connection out of asyncio's and mitmproxy's hands without losing a byte or an end.

The only file that touches mitmproxy's and asyncio's internals of a live connection; tests/addon/test_contract.py holds
each of them, so that a new mitmproxy or Python fails there first. Under `mitmdump`:

    ProxyConnectionHandler.transports[client].{reader, writer}     where the connection is
    StreamReader._waiter                                           set only while read() waits on an empty buffer

mitmproxy's reading task stays blocked in read() for the tunnel's life. The transport keeps the original descriptor:
closing it at the end makes that task see EOF, and mitmproxy's own bookkeeping closes the rest. Under `towline run`
(connection.py) there is no such task, and a paused transport has nothing left to give.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Self, cast

from towline.errors import ClientLeft
from towline.proxy.gate import Gate
from towline.proxy.layer import Asked
from towline.proxy.reception import MAX_PENDING, Inbox
from towline.types import Address, IPAddress, Target

if TYPE_CHECKING:
    from mitmproxy.proxy.server import ConnectionHandler  # brings every protocol: `mitmdump` has it, `towline run` not

LINGER = 2.0  # seconds that a refused client gets to read its answer and close
HURRIED = 0.5  # the same for one that sends without end: more than a round trip, for the answer to arrive
MAX_TURNS = 1000  # turns of the loop in which mitmproxy's task must have used what was read; one or two are usual


class HandoffError(Exception):
    """mitmproxy did not behave as the contract says; the request ends, the proxy goes on."""


class HeldClient:
    """The client's side of one request (serving.Client)."""

    def __init__(
        self,
        transport: asyncio.Transport,
        inbox: Inbox,
        ends: tuple[Address, Address],
        gate: Gate,
        *,
        drain: Callable[[], Awaitable[None]],
        reader: asyncio.StreamReader | None = None,
    ) -> None:
        """`ends`: the client's address, and ours.

        `drain` waits until the kernel has what was written; `reader` is where mitmproxy reads, if it does.
        """
        self._transport = transport
        self._drain = drain
        self._reader = reader
        self._gate = gate
        self._inbox = inbox
        self._inbox.on_full = self._pause_reading
        if len(self._inbox.pending) >= MAX_PENDING:
            self._pause_reading()
        self.ends = ends
        host, port = ends[0]
        self.ip: IPAddress = _plain_address(host)
        self.name = str(Target(str(self.ip), port))

    @classmethod
    def of_mitmproxy(cls, handler: ConnectionHandler, asked: Asked, gate: Gate) -> Self:
        """The client of a connection that mitmproxy accepted and reads."""
        client = asked.client
        io = handler.transports[client]
        if not isinstance(io.reader, asyncio.StreamReader) or not isinstance(io.writer, asyncio.StreamWriter):
            raise HandoffError("the client's connection is not an asyncio stream")
        transport = cast("asyncio.Transport", io.writer.transport)  # of a socket: both directions
        ends: tuple[Address, Address] = client.peername[:2], client.sockname[:2]
        return cls(transport, asked.inbox, ends, gate, drain=io.writer.drain, reader=io.reader)

    def entered(self) -> None:
        """It holds a tunnel from here on."""
        self._gate.leave(self._transport)

    def when_left(self, callback: Callable[[], object]) -> None:
        """Call back once if the client closes before `detach`."""
        if self._inbox.closed:
            callback()
        else:
            self._inbox.on_closed = callback

    async def answer(self, head: bytes) -> None:
        """Send an answer and keep the connection; returns when the kernel has all of it."""
        self._transport.set_write_buffer_limits(high=0)
        with contextlib.suppress(OSError):  # a client that is gone shows as FIN or RST on the relay's descriptor
            self._transport.write(head)
            await self._drain()

    def _pause_reading(self) -> None:
        if self._transport.is_reading():  # a StreamReader resumes it after a full buffer
            self._transport.pause_reading()

    async def refuse(self, answer: bytes) -> None:
        """Send a last answer, then FIN; wait for the client's FIN, so that no unread byte turns the close into RST.

        A client that sends without end is not read for as long: that would cost the others more than it is worth.
        """
        self._gate.enter(self._transport)  # again, where a tunnel was tried
        closed = asyncio.Event()

        def hurry() -> None:
            self._pause_reading()
            asyncio.get_running_loop().call_later(HURRIED, closed.set)

        try:
            self._inbox.on_full = hurry
            self._inbox.discard()
            self._transport.resume_reading()
            await self.answer(answer)
            self.when_left(closed.set)
            with contextlib.suppress(OSError, TimeoutError):
                self._transport.write_eof()
                async with asyncio.timeout(LINGER):
                    await closed.wait()
        finally:
            self._gate.leave(self._transport)

    async def detach(self) -> tuple[socket.socket, bytes]:
        """Stop the reading and give out a descriptor of our own, with the bytes read and not yet used."""
        self._inbox.on_closed = None
        await self._quiesce()
        sock: socket.socket = self._transport.get_extra_info("socket").dup()
        pending = bytes(self._inbox.pending)
        self._inbox.pending.clear()
        return sock, pending

    async def _quiesce(self) -> None:
        """Pause the transport and let mitmproxy's task use up what its StreamReader holds."""
        for _ in range(MAX_TURNS):
            if self._inbox.closed or self._transport.is_closing():
                raise ClientLeft
            self._pause_reading()
            if self._reader is None or self._reader._waiter is not None:  # type: ignore[attr-defined]
                return
            await asyncio.sleep(0)
        raise HandoffError("mitmproxy did not use up what it had read")

    def close(self) -> None:
        """Close the transport; mitmproxy sees EOF and ends its part."""
        self._transport.close()


@lru_cache(maxsize=1024)
def _plain_address(host: str) -> IPAddress:
    """The address of a client, an IPv4 one also where a dual-stack listener shows it mapped into IPv6."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
