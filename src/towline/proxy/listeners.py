"""Where `towline run` listens: the addon that mitmproxy's Master asks, by its name, to open the listeners.

It stands in the place of mitmproxy's own Proxyserver, which brings every protocol that mitmproxy speaks, and a stream
for each connection. `mitmdump` has that one, with its modes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from towline.proxy.connection import Connection
from towline.types import Address

if TYPE_CHECKING:
    from towline.proxy.addon import TowlineAddon

BACKLOG = 1024
"""Connections that may wait for accept: a CI runner opens hundreds at once (the kernel caps at somaxconn)."""

ACCEPTS = 32
"""Connections accepted in one turn of the loop. asyncio takes the backlog for this, and would accept a thousand before
it reads the first request, each of them silent so far."""


class Listeners:
    """The listeners, and the connections that they accepted."""

    name = "proxyserver"

    def __init__(self, addon: TowlineAddon, first: Sequence[Address], passed: Mapping[Address, int]) -> None:
        """`first` is where to listen at the start; `passed` has the descriptors of addresses that are bound already."""
        self.connections: set[Connection] = set()
        self.failed: dict[Address, OSError] = {}
        """Addresses that are wanted and could not be listened on, and why."""
        self._addon = addon
        self._first = first
        self._passed = passed
        self._open: dict[Address, asyncio.Server] = {}
        self._updating = asyncio.Lock()

    async def setup_servers(self) -> None:
        """Open the first listeners: Master.run calls it."""
        await self.update(self._first)

    async def update(self, addresses: Sequence[Address]) -> None:
        """Listen on these addresses and no others; `failed` tells of those that cannot be had.

        Listeners that stay are not touched. Ones that go are closed first: else 0.0.0.0 could not follow 127.0.0.1.
        One update at a time: a stop may come while the first listeners open.
        """
        async with self._updating:
            for address in self._open.keys() - set(addresses):
                self._close(address)
            self.failed = {}
            for address in addresses:
                if address not in self._open:
                    await self._try(address)

    @property
    def wanted(self) -> list[Address]:
        """What the last update was for."""
        return [*self._open, *self.failed]

    def listen_addrs(self) -> list[Address]:
        """Where it listens, with the real port where 0 was asked for; called as mitmproxy's own is."""
        return [sock.getsockname()[:2] for server in self._open.values() for sock in server.sockets]

    async def _try(self, address: Address) -> None:
        """Open one listener, or note why it cannot be had."""
        try:
            await self._listen(address)
        except OSError as error:
            self._close(address)
            self.failed[address] = error

    async def _listen(self, address: Address) -> None:
        """Open one listener. Raises OSError."""
        loop = asyncio.get_running_loop()
        if address in self._passed:
            # A duplicate, so that closing it leaves the socket listening for a reload, and for whoever comes after us.
            sock = socket.socket(fileno=os.dup(self._passed[address]))
            server = await loop.create_server(self._accepted, sock=sock, backlog=ACCEPTS, start_serving=False)
        else:
            server = await loop.create_server(self._accepted, *address, backlog=ACCEPTS, start_serving=False)
        self._open[address] = server  # before the next await, which a stop may cancel
        await server.start_serving()
        for listener in server.sockets:
            with socket.socket(fileno=os.dup(listener.fileno())) as again:
                again.listen(BACKLOG)  # the same socket: listen(2) may be called again

    def _close(self, address: Address) -> None:
        """Close the listener of an address, if there is one."""
        if address in self._open:
            self._open.pop(address).close()

    def _accepted(self) -> Connection:
        """What becomes of one accepted connection."""
        return Connection(self._addon, self.connections)
