"""The composition root: a configuration becomes dialers, decisions and a ledger, and requests are served.

What the edges ask it: `serve` (proxy), `snapshot` and `explain` (admin), `drain` (signals).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from towline import __version__
from towline.config import Config
from towline.core.head import Request
from towline.core.ledger import Ledger
from towline.deciding import Deciding
from towline.errors import Refused
from towline.net.connect import ConnectDialer
from towline.net.dialer import Dialer
from towline.net.direct import DirectDialer
from towline.net.pipes import PipePool
from towline.net.resolve import SystemResolver
from towline.net.socks import SocksDialer
from towline.serving import Client, Serving
from towline.types import IPAddress, RouteKind, RouteSpec, Target
from towline.views import RouteView, Snapshot

log = structlog.get_logger("towline")

RELEASE_GRACE = 0.5  # seconds beyond the linger that released tunnels get to write their log line
DRAIN_REPORT = 5.0  # seconds between two lines that say what a drain waits for


class Service:
    """One running Towline. Made inside the running event loop, whose clock is the clock of everything in it."""

    def __init__(self, config: Config, *, max_tunnels: int | None = None) -> None:
        """`max_tunnels` is what the descriptor limit allows; the configured limit is lowered to it."""
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._config = config
        self._resolver = SystemResolver()
        self._ledger = Ledger(started_at=self._clock())
        self._deciding = Deciding(config, self._ledger.health, clock=self._clock)
        self._listening: tuple[str, ...] = ()
        self._serving = Serving(
            rank=self._deciding.rank,
            dialers={spec.name: self._dialer(spec) for spec in config.routes if not spec.disabled},
            ledger=self._ledger,
            access=config.access,
            failover=config.failover,
            limits=config.limits.capped(max_tunnels),
            pipes=PipePool.where_supported(),
        )

    async def serve(self, request: Request | Refused, client: Client) -> None:
        """Serve one request to its end (serving.py)."""
        await self._serving.serve(request, client)

    def _dialer(self, spec: RouteSpec) -> Dialer:
        match spec.kind:
            case RouteKind.DIRECT:
                return DirectDialer(spec, resolver=self._resolver, admit=self._admit)
            case RouteKind.HTTP | RouteKind.HTTPS:
                return ConnectDialer(spec, resolver=self._resolver, admit=self._admit)
            case RouteKind.SOCKS5 | RouteKind.SOCKS5H:
                return SocksDialer(spec, resolver=self._resolver, admit=self._admit)

    def _admit(self, target: Target, ip: IPAddress) -> str | None:
        return self._deciding.admit(target, ip)

    def explain(self, host: str, port: int) -> dict[str, object]:
        """What a CONNECT to `host`:`port` would meet now (deciding.py). Raises TargetError."""
        return self._deciding.explain(host, port)

    def snapshot(self) -> Snapshot:
        """The state at this moment."""
        now = self._clock()
        return Snapshot(
            version=__version__,
            ready=bool(self._listening) and not self._serving.draining,
            draining=self._serving.draining,
            uptime_seconds=now - self._ledger.started_at,
            listen=self._listening,
            routes=tuple(self._route_view(spec, now) for spec in self._config.routes),
            tunnels=self._ledger.tunnel_views(now=now),
            totals=self._ledger.totals(),
        )

    def _route_view(self, spec: RouteSpec, now: float) -> RouteView:
        registries = self._deciding.views(spec)
        return self._ledger.route_view(spec, registries, draining=self._serving.draining, now=now)

    def started(self, listening: Sequence[str]) -> None:
        """The listeners are open, at these addresses: say what was found, and be ready."""
        self._listening = tuple(listening)
        for spec in self._config.routes:
            state = "disabled" if spec.disabled else spec.describe()
            log.info("route", name=spec.name, way=state, cost=spec.cost, origin=spec.origin)
        log.info("listening", addresses=listening)

    async def drain(self) -> bool:
        """Take no new tunnels and wait for the open ones, at most `limits.drain` seconds; True when all ended.

        The listeners are the caller's to close before.
        """
        self._serving.draining = True
        deadline = self._clock() + self._config.limits.drain
        while self._ledger.tunnels and (left := deadline - self._clock()) > 0:
            waiting = [f"{view.target} over {view.route}" for view in self._ledger.tunnel_views(now=self._clock())]
            log.info("draining", tunnels=len(waiting), seconds_left=round(left, 1), waiting_for=waiting[:8])
            await self._serving.wait_until_idle(min(left, DRAIN_REPORT))
        return not self._ledger.tunnels

    async def release_all(self) -> None:
        """End every tunnel with FIN toward its client; wait for the ends, a little over `limits.linger` at most."""
        for relay in list(self._serving.relays.values()):
            relay.release()
        await self._serving.wait_until_idle(self._config.limits.linger + RELEASE_GRACE)

    def close(self) -> None:
        """Give back what the service holds, when every tunnel has ended."""
        if self._serving.pipes is not None:
            self._serving.pipes.close()
