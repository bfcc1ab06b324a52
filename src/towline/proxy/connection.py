"""An accepted connection: mitmproxy's own handler of it, less what no tunnel uses and every connection would pay for.

    hooks       only the request's, straight to our addon: nothing that `towline run` loads asks for another
    watchdog    none: mitmproxy's ends what is silent for ten minutes, which tunnels may be; heads have a deadline

Layers, commands and the reading task are mitmproxy's. A connection under `mitmdump` has all of it.
"""

from __future__ import annotations

from typing import override

import structlog
from mitmproxy import ctx
from mitmproxy.proxy import commands
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import TimeoutWatchdog

from towline.proxy.layer import TowlineRequestHook

log = structlog.get_logger("towline")


class TowlineConnection(ProxyConnectionHandler):
    """One connection of a TowlineMode."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)
        self.timeout_watchdog = _Unwatched(0, self.on_timeout)

    @override
    async def handle_hook(self, hook: commands.StartHook) -> None:
        if not isinstance(hook, TowlineRequestHook):
            return
        try:
            await ctx.master.addons.get("towline").towline_request(hook.asked)
        except Exception:  # a bug; the connection has been closed
            log.exception("request_crashed", client=str(self.client.peername))


class _Unwatched(TimeoutWatchdog):
    """Watches nothing."""

    @override
    async def watch(self) -> None:
        return
