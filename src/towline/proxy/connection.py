"""An accepted connection of `towline run`: asyncio's transport on one side, Towline's layer on the other.

mitmproxy's layers do no I/O themselves, so that anything can drive them. Its own driver takes a stream and six tasks
for a connection, and holds them as long as its tunnel lasts; this one takes a callback for each event and one task,
which serves the request. Under `mitmdump` the layer is driven by mitmproxy.

    connection_made, data_received, eof_received   ->   Start, DataReceived, ConnectionClosed
    RequestWakeup                                  ->   a timer
    TowlineRequestHook                             ->   the task
    CloseConnection                                ->   the transport is closed
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, cast, override

import structlog
from mitmproxy import ctx
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context

from towline.proxy.handoff import HeldClient
from towline.proxy.layer import Asked, RequestLayer, TowlineRequestHook

if TYPE_CHECKING:
    from towline.proxy.addon import TowlineAddon

log = structlog.get_logger("towline")


class Connection(asyncio.Protocol):
    """One connection, from accept to its close; listed in `connections` meanwhile."""

    transport: asyncio.Transport
    client: Client
    layer: RequestLayer

    def __init__(self, addon: TowlineAddon, connections: MutableMapping[str, Connection]) -> None:
        self._addon = addon
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        self._serving: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.client = Client(
            peername=peer,
            sockname=transport.get_extra_info("sockname"),
            state=ConnectionState.OPEN,
        )
        self.layer = RequestLayer(Context(self.client, ctx.options))
        self._connections[self.client.id] = self
        self._addon.gate.enter(self.transport)
        if peer is None:  # it was gone before it was accepted
            self.transport.abort()
        self._tell(events.Start())

    @override
    def data_received(self, data: bytes) -> None:
        self._tell(events.DataReceived(self.client, data))

    @override
    def eof_received(self) -> bool:
        self._tell(events.ConnectionClosed(self.client))
        return True  # what is to be closed, the layer closes

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._addon.gate.leave(self.transport)
        del self._connections[self.client.id]
        self.resume_writing()
        self._tell(events.ConnectionClosed(self.client))

    @override
    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drain(self) -> None:
        """Return when the kernel has all that was written, or the connection is gone; mostly at once."""
        if self.transport.get_write_buffer_size():
            self._drained = self._loop.create_future()
            await self._drained

    def _tell(self, event: events.Event) -> None:
        """Give the layer an event, and do what it commands."""
        for command in self.layer.handle_event(event):
            match command:
                case commands.RequestWakeup():
                    self._deadline = self._loop.call_later(command.delay, self._tell, events.Wakeup(command))
                case TowlineRequestHook():
                    self._stop_timer()
                    self._serving = self._loop.create_task(self._serve(command.asked), name="request")
                case commands.CloseConnection():
                    self.transport.close()
                case commands.Log():
                    log.debug("layer", message=command.message)
                case _:
                    raise TypeError(f"unexpected command: {command}")

    async def _serve(self, asked: Asked) -> None:
        try:
            await self._addon.serve(asked, HeldClient(self.transport, asked, self._addon.gate, drain=self.drain))
        except Exception:  # a bug
            log.exception("request_crashed", client=str(self.client.peername))
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
