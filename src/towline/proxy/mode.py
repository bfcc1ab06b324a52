"""A mitmproxy mode of our own, which registers itself when this module is imported.

    towline@host:port      binds the address
    towline:3@host:port    listens on descriptor 3, a socket that was bound to the address by whoever started us

It is what `towline run` listens with: a longer backlog than asyncio's 100, and connections of our own (connection.py),
with RequestLayer as their only layer. `mitmdump` parses --mode before it loads scripts and therefore keeps `regular`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import ClassVar, Literal, cast

from mitmproxy import ctx
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.mode_servers import AsyncioServerInstance
from mitmproxy.proxy.mode_specs import ProxyMode

from towline.proxy.connection import Connection
from towline.proxy.layer import RequestLayer
from towline.types import Address, Target

BACKLOG = 1024
"""Connections that may wait for accept: a CI runner opens hundreds at once (the kernel caps at somaxconn)."""

ACCEPTS = 32
"""Connections accepted in one turn of the loop. asyncio takes the backlog for this, and would accept a thousand before
it reads the first request, each of them silent so far."""


class TowlineMode(ProxyMode):
    """The mode spec; its data is the descriptor of a socket that is bound already."""

    description: ClassVar[str] = "towline"
    transport_protocol: ClassVar[Literal["tcp", "udp", "both"]] = "tcp"

    def __post_init__(self) -> None:
        if self.data and not self.data.isdecimal():
            raise ValueError("mode takes a descriptor's number")

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.listen_host().strip("[]"), self.listen_port() or 0  # never None: mode_for names one


def mode_for(address: Address, descriptor: int | None = None) -> TowlineMode:
    """The mode that listens on `address`: on the socket with this descriptor, where there is one."""
    data = "" if descriptor is None else f":{descriptor}"
    return TowlineMode.parse(f"towline{data}@{Target(*address).authority}")


class TowlineInstance(AsyncioServerInstance[TowlineMode]):
    """The listener of one address."""

    def make_top_layer(self, context: Context) -> Layer:
        """The layer that every accepted connection begins with."""
        return RequestLayer(context)

    def _accepted(self) -> Connection:
        """What becomes of one accepted connection."""
        return Connection(
            ctx.master.addons.get("towline"), self.mode, cast("dict[str, Connection]", self.manager.connections)
        )

    async def _start(self) -> None:
        """Open the listener. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self.mode.data:
            # A duplicate, so that closing it leaves the socket listening for a reload, and for whoever comes after us.
            sock = socket.socket(fileno=os.dup(int(self.mode.data)))
            server = await loop.create_server(self._accepted, sock=sock, backlog=ACCEPTS)
        else:
            server = await loop.create_server(self._accepted, *self.mode.address, backlog=ACCEPTS)
        for listener in server.sockets:
            with socket.socket(fileno=os.dup(listener.fileno())) as again:
                again.listen(BACKLOG)  # the same socket: listen(2) may be called again
        self._servers = [server]

    async def _stop(self) -> None:
        """Close the listener; one that could not be opened has none."""
        if self._servers:
            await super()._stop()
