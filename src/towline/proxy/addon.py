"""The addon: the same under `towline run` and under `mitmdump -s addons/towline_addon.py`.

It puts RequestLayer where mitmproxy would put its HTTP layer, and serves each request that the layer reads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from mitmproxy import ctx
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers import modes

from towline.core.head import Request
from towline.errors import Refused
from towline.proxy.gate import Gate
from towline.proxy.handoff import HandoffError, HeldClient
from towline.proxy.layer import Asked, RequestLayer
from towline.service import Service
from towline.types import Target

if TYPE_CHECKING:
    from mitmproxy.addons.proxyserver import Proxyserver

    from towline.proxy.listeners import Listeners

log = structlog.get_logger("towline")


class TowlineAddon:
    """Routes every client of an HTTP proxy mode through a Service."""

    name = "towline"

    def __init__(self, service: Service) -> None:
        self._service = service
        self.gate = Gate(lambda: service.limits.heads, service.turned_away)

    def running(self) -> None:
        """The listeners are open."""
        proxyserver: Proxyserver | Listeners = ctx.master.addons.get("proxyserver")
        self._service.started([Target(*address[:2]).authority for address in proxyserver.listen_addrs()])

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Take every connection to an HTTP proxy mode, also where another addon has chosen before."""
        if isinstance(nextlayer.context.layers[-1], modes.HttpProxy):
            nextlayer.layer = RequestLayer(nextlayer.context)

    def accepted(self, connection: asyncio.Transport) -> None:
        """A client has connected, and waits."""
        self.gate.enter(connection)
        self._service.accepted()

    async def towline_request(self, asked: Asked) -> None:
        """Serve one request of a connection that mitmproxy accepted; runs as long as its tunnel, beside its layers."""
        proxyserver: Proxyserver = ctx.master.addons.get("proxyserver")
        handler = proxyserver.connections[asked.client.id]
        try:
            await self.serve(asked.request, HeldClient.of_mitmproxy(handler, asked, self.gate))
        except HandoffError as error:
            log.error("handoff_failed", client=Target(*asked.client.peername[:2]).authority, why=str(error))

    async def serve(self, request: Request | Refused, client: HeldClient) -> None:
        """Serve one request to the end of its tunnel. Raises HandoffError."""
        await self._service.serve(request, client)
