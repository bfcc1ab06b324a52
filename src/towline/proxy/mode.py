"""A mitmproxy mode of our own, `towline@host:port`, which registers itself when this module is imported.

It is what `towline run` listens with: a longer backlog than asyncio's 100, and RequestLayer as the top layer, with no
question to other addons in between. `mitmdump` parses --mode before it loads scripts and therefore keeps `regular`.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Literal

from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.mode_servers import AsyncioServerInstance
from mitmproxy.proxy.mode_specs import ProxyMode

from towline.proxy.layer import RequestLayer
from towline.types import Address, Target

BACKLOG = (
    1024  # connections that may wait for accept: a CI runner opens hundreds at once (the kernel caps at somaxconn)
)


class TowlineMode(ProxyMode):
    """The mode spec; it takes no arguments but its address."""

    description: ClassVar[str] = "towline"
    transport_protocol: ClassVar[Literal["tcp", "udp", "both"]] = "tcp"

    def __post_init__(self) -> None:
        if self.data:
            raise ValueError("mode takes no arguments")


def mode_for(address: Address) -> str:
    """The mode spec that listens on `address`."""
    return f"towline@{Target(*address).authority}"


class TowlineInstance(AsyncioServerInstance[TowlineMode]):
    """The listener of one address."""

    def make_top_layer(self, context: Context) -> Layer:
        """The layer that every accepted connection begins with."""
        return RequestLayer(context)

    async def _start(self) -> None:
        """Open the listener; an IPv6 host comes in the brackets of the mode spec. Raises OSError."""
        host, port = self.mode.listen_host().strip("[]"), self.mode.listen_port()
        self._servers = [await asyncio.start_server(self.handle_stream, host, port, backlog=BACKLOG)]
