"""The composition root: a configuration becomes dialers, a guard, a ranking and a ledger, and requests are served.

What the edges ask it: `serve` (proxy), `snapshot` and `explain` (admin), `drain` (signals).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import replace
from http import HTTPStatus

import psutil
import structlog

from towline import __version__
from towline.catalogue import load_catalogue
from towline.config import Config
from towline.core.classify import Catalogue
from towline.core.guard import Guard
from towline.core.head import Request
from towline.core.health import Health
from towline.core.ledger import Ledger
from towline.core.policy import TargetPolicy
from towline.core.rank import estimate, rank
from towline.errors import Refused
from towline.net.connect import ConnectDialer
from towline.net.dialer import Dialer
from towline.net.direct import DirectDialer
from towline.net.pipes import PipePool
from towline.net.resolve import SystemResolver
from towline.net.socks import SocksDialer
from towline.serving import Client, Serving
from towline.types import Address, Classification, IPAddress, Ranking, RouteKind, RouteSpec, Target
from towline.views import RouteRegistryView, RouteView, Snapshot

log = structlog.get_logger("towline")

FAKE_ADDRESSES = ipaddress.ip_network("198.18.0.0/15")  # RFC 2544 benchmarking; the default of fake-IP proxies
RELEASE_GRACE = 0.5  # seconds beyond the linger that released tunnels get to write their log line
DRAIN_REPORT = 5.0  # seconds between two lines that say what a drain waits for


class Service:
    """One running Towline. Made inside the running event loop, whose clock is the clock of everything in it."""

    def __init__(self, config: Config, *, max_tunnels: int | None = None) -> None:
        """`max_tunnels` is what the descriptor limit allows; the configured limit is lowered to it."""
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._config = config
        self._catalogue: Catalogue = load_catalogue().with_overrides(config.registries)
        self._policy = _with_fake_addresses(config.policy)
        self._guard = Guard(self._policy, own=frozenset())
        self._own_ports = frozenset(port for _, port in _listeners(config))
        self._resolver = SystemResolver()
        self._ledger = Ledger(started_at=self._clock())
        self._listening: tuple[str, ...] = ()
        self._serving = Serving(
            rank=self._rank,
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
        """Why a resolved address may not be dialled; None where it may."""
        refusal = self._guard_for(target).check_address(target, ip)
        return None if refusal is None else refusal.message

    def _guard_for(self, target: Target) -> Guard:
        """The guard; where the port is one of our own, it knows this machine's addresses as they are now."""
        if target.port in self._own_ports:
            own = frozenset((ip, port) for ip in _local_addresses() for port in self._own_ports)
            return Guard(self._policy, own=own)
        return self._guard

    def _rank(self, target: Target) -> Ranking:
        classification = self._catalogue.classify(target)
        refusal = self._guard_for(target).check_target(target, classification)
        if refusal is not None:
            raise Refused(HTTPStatus.FORBIDDEN, refusal.code, f"towline: {refusal.message}")
        return self._order(target, classification)

    def _order(self, target: Target, classification: Classification) -> Ranking:
        return rank(
            target,
            classification,
            self._config.routes,
            self._ledger.health,
            registry=self._catalogue.registry(classification.registry),
            policy=self._config.policy,
            failover=self._config.failover,
            now=self._clock(),
        )

    def explain(self, host: str, port: int) -> dict[str, object]:
        """What a CONNECT to `host`:`port` would meet now, JSON-ready, in the words of the log. Raises TargetError."""
        target = Target.parse(host, port)
        classification = self._catalogue.classify(target)
        refusal = self._guard_for(target).check_target(target, classification)
        ranking = self._order(target, classification)
        described = {spec.name: spec.describe() for spec in self._config.routes}
        return {
            "target": str(target),
            "registry": classification.registry,
            "role": classification.role.value,
            "rule": classification.rule,
            "why": ranking.why,
            "refused": None if refusal is None else refusal.message,
            "candidates": [
                {
                    "route": candidate.route,
                    "description": described[candidate.route],
                    "expected_seconds": round(candidate.expected_seconds, 3),
                    "reason": candidate.reason,
                }
                for candidate in ranking.candidates
            ],
            "excluded": [{"route": route, "reason": reason} for route, reason in ranking.excluded],
        }

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
        registries = tuple(
            self._registry_view(spec, registry, health, now)
            for (route, registry), health in self._ledger.health.items()
            if route == spec.name
        )
        return self._ledger.route_view(spec, registries, draining=self._serving.draining, now=now)

    def _registry_view(self, spec: RouteSpec, registry: str, health: Health, now: float) -> RouteRegistryView:
        seconds, reason = estimate(spec, health, self._catalogue.registry(registry), now=now)
        return RouteRegistryView(
            registry=registry,
            success=1 - health.failures / health.attempts if health.attempts else None,
            first_byte_seconds=None,
            rate_bytes_per_second=None,
            expected_seconds=round(seconds, 3),
            reason=reason,
            probed_seconds_ago=None,
        )

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


def _listeners(config: Config) -> Iterable[Address]:
    return (*config.listen, config.admin) if config.admin else config.listen


def _with_fake_addresses(policy: TargetPolicy) -> TargetPolicy:
    """The policy, with the fake addresses of a TUN-mode proxy (Clash, mihomo, sing-box) opened where one runs here.

    Such a proxy answers every name with an address in its own network, which the guard would rightly refuse: then
    Towline would be worse than direct for its users. Its TUN interface has an address in that network.
    """
    if not any(ipaddress.ip_address(ip) in FAKE_ADDRESSES for ip in _local_addresses()):
        return policy
    log.info("fake_addresses", network=str(FAKE_ADDRESSES), why="a TUN interface of this machine is in it")
    return replace(policy, private_targets=(*policy.private_targets, str(FAKE_ADDRESSES)))


def _local_addresses() -> frozenset[str]:
    """Every address of this machine, in canonical text (a wildcard listener answers on all of them)."""
    found = set()
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            try:
                found.add(str(ipaddress.ip_address(address.address.partition("%")[0])))
            except ValueError:  # a link-layer address
                continue
    return frozenset(found)
