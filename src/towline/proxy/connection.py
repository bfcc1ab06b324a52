"""An accepted connection of `towline run`: asyncio's transport on one side, the reception and a request on the other.

mitmproxy's own driver takes a stream, six tasks and a tree of layers for a connection, and holds them as long as its
tunnel lasts; this takes a callback for each event and one task, which serves the request. Under `mitmdump` mitmproxy
accepts, and RequestLayer receives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast, override

import structlog

from towline.core.head import HEAD_TIMEOUT, Request
from towline.errors import Refused
from towline.proxy.handoff import HeldClient
from towline.proxy.reception import Reception
from towline.types import Address, Target

if TYPE_CHECKING:
    from towline.proxy.addon import TowlineAddon

log = structlog.get_logger("towline")


class Connection(asyncio.Protocol):
    """One connection, from accept to its close; listed in `connections` meanwhile."""

    transport: asyncio.Transport

    def __init__(self, addon: TowlineAddon, connections: set[Connection]) -> None:
        self._addon = addon
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._reception = Reception()
        self._deadline: asyncio.TimerHandle | None = None
        self._serving: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def asked(self) -> bool:
        """The head was read, or refused."""
        return self._reception.asked

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._addon.accepted(self.transport)
        self._deadline = self._loop.call_later(HEAD_TIMEOUT, self._expire)
        if transport.get_extra_info("peername") is None:  # it was gone before it was accepted
            self.transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        self._serve(self._reception.take(data))

    @override
    def eof_received(self) -> bool:
        self._reception.close()
        return False  # which closes the transport

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._addon.gate.leave(self.transport)
        self._connections.remove(self)
        self.resume_writing()
        self._reception.close()
        self._serving = None  # which holds this

    @override
    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drain(self) -> None:
        """Return when the kernel has all that was written, or the connection is gone; mostly at once."""
        if self.transport.get_write_buffer_size():
            self._drained = self._loop.create_future()
            await self._drained

    def _expire(self) -> None:
        self._serve(self._reception.expire())

    def _serve(self, asked: Request | Refused | None) -> None:
        if asked is not None:
            self._stop_timer()
            self._serving = self._loop.create_task(self._request(asked), name="request")

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    async def _request(self, asked: Request | Refused) -> None:
        ends: tuple[Address, Address] = (
            self.transport.get_extra_info("peername")[:2],
            self.transport.get_extra_info("sockname")[:2],
        )
        client = HeldClient(self.transport, self._reception.inbox, ends, self._addon.gate, drain=self.drain)
        try:
            await self._addon.serve(asked, client)
        except Exception:  # a bug
            log.exception("request_crashed", client=Target(*ends[0]).authority)
            self.transport.close()
