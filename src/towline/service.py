"""The composition root: a configuration becomes dialers, decisions and a ledger, and requests are served.

What the edges ask it: `serve` (proxy), `snapshot`, `explain`, `drain_route`, `resume_route` (admin), `reload`,
`begin_draining`, `drain` (signals).
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from random import Random

import structlog

from towline import __version__
from towline.access import Access
from towline.config import Config, with_offers
from towline.config.changes import AT_START, Changes, compare
from towline.core.capacity import MAX_PIPES, pipes_within, within
from towline.core.head import Request
from towline.core.ledger import Ledger
from towline.core.pacing import Pacing
from towline.core.policy import LimitsPolicy
from towline.core.presence import Presence
from towline.deciding import Deciding
from towline.dialers import Dialers
from towline.errors import ConfigError, ListenError, Problem, Refused
from towline.leaving import Leaving
from towline.measuring import Present, measuring
from towline.memory import Memory
from towline.net.pipes import PipePool
from towline.net.resolve import SystemResolver
from towline.probing import Probing
from towline.remembering import Remembering
from towline.roaming import Roaming
from towline.serving import Client, Serving
from towline.types import Address, Ranking, RouteSpec, Target
from towline.verifying import Verifying
from towline.views import ProbedView, ReloadView, RouteView, Snapshot, SteeredView
from towline.watching import Watching

log = structlog.get_logger("towline")

RELEASE_GRACE = 0.5  # seconds beyond the linger that released tunnels get to write their log line
DRAIN_REPORT = 5.0  # seconds between two lines that say what a drain waits for

type Load = Callable[[], Config]
"""Reads the configuration. Raises ConfigError."""
type Listen = Callable[[Sequence[Address]], Awaitable[Sequence[str]]]
"""Listens on these addresses and no others; gives where. Raises ListenError, the listeners as they were."""


class Service:
    """One running Towline. Made inside the running event loop, whose clock is the clock of everything in it."""

    def __init__(self, config: Config, *, descriptors: int | None = None, memory: Memory | None = None) -> None:
        """`descriptors` is how many the process may have; the configured limits are lowered to what they can hold."""
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._config = config
        self._descriptors = descriptors
        self._resolver = SystemResolver()
        self._ledger = Ledger(started_at=self._clock())
        self._rng = Random()  # noqa: S311 - it says which tunnels explore
        self._presence = Presence()
        self._drained: set[str] = set()
        """Routes that the operator drains: they keep their tunnels and get no new ones. One set, which others read."""
        self._deciding = self._decide(config)
        self._verifying = Verifying(
            rank=lambda target: self._deciding.rank(target),
            family=lambda target: self._deciding.family(target),
            dialers=lambda: self._dialers,
        )
        self._dialers = self._dial_with(config, self._deciding)
        self._measuring = measuring(self._ledger, self._present, config.health.probe_bytes, self._verifying.probed)
        self._serving = Serving(
            rank=self._deciding.take,
            dialers=self._dialers.by_route,
            ledger=self._ledger,
            access=Access(config.access),
            failover=config.failover,
            limits=self._limits(config),
            pipes=PipePool.where_supported(MAX_PIPES if descriptors is None else pipes_within(descriptors)),
            name=secrets.token_hex(8),  # 64 bits: no two meet by chance
            watching=Watching(
                self._ledger,
                policy=lambda: self._config.stall,
                probing=Probing(self._ledger, rank=self.rank, dialers=lambda: self._serving.dialers),
            ),
            verifying=self._verifying,
            asked=self._measuring.asked,
        )
        self._leaving = Leaving(self._ledger, self._serving.relays)
        remembering = Remembering(self._ledger.learned, memory)
        self._roaming = Roaming(self, self._serving.watching, self._presence, remembering)
        self._removed: dict[str, RouteSpec] = {}
        """Routes that a reload took out; shown until their last tunnel has ended."""
        self._listening: tuple[str, ...] = ()
        self._draining = False
        self._reload = ReloadView()
        self._reloaded_at: float | None = None

    def _present(self) -> Present:
        return Present(self._deciding.rank, self._serving.dialers, self._deciding.image)

    def _decide(self, config: Config) -> Deciding:
        return Deciding(
            config, self._ledger.learned, self._presence, drained=self._drained, clock=self._clock, rng=self._rng
        )

    def _dial_with(self, config: Config, deciding: Deciding) -> Dialers:
        """Raises ConfigError for a CA bundle that cannot be read."""
        slots = asyncio.Semaphore(max(1, self._limits(config).dials))
        return Dialers(
            config.routes, system=self._resolver, sound=self._verifying.sound, admit=deciding.admit, slots=slots
        )

    def _limits(self, config: Config) -> LimitsPolicy:
        return config.limits if self._descriptors is None else within(config.limits, self._descriptors)

    @property
    def limits(self) -> LimitsPolicy:
        """The limits that hold now."""
        return self._serving.limits

    def turned_away(self, client: str) -> None:
        """Note that a client's connection had to go before it was heard (serving.py)."""
        self._serving.turned_away(client)

    def accepted(self) -> None:
        """A client has connected."""
        self._serving.make_haste()

    async def serve(self, request: Request | Refused, client: Client) -> None:
        """Serve one request to its end (serving.py)."""
        await self._serving.serve(request, client)

    def explain(self, host: str, port: int) -> dict[str, object]:
        """What a CONNECT to `host`:`port` would meet now (deciding.py). Raises TargetError."""
        return self._deciding.explain(host, port)

    async def probe(self, host: str | None, port: int) -> list[ProbedView]:
        """Probe a host, or without one the hosts in use, over every route. Raises TargetError and Refused."""
        targets = self._measuring.in_use if host is None else [Target.parse(host, port)]
        return [await self._measuring.probe(target) for target in targets]

    def snapshot(self) -> Snapshot:
        """The state at this moment."""
        now = self._clock()
        ago = None if self._reloaded_at is None else now - self._reloaded_at
        return Snapshot(
            version=__version__,
            pid=os.getpid(),
            ready=bool(self._listening) and not self._draining,
            draining=self._draining,
            uptime_seconds=now - self._ledger.started_at,
            listen=self._listening,
            reload=replace(self._reload, seconds_ago=ago),
            routes=self._route_views(now),
            tunnels=self._ledger.tunnel_views(now=now),
            totals=self._ledger.totals(),
            probes=self._measuring.view(),
            network=self._roaming.view(),
        )

    def _route_views(self, now: float) -> tuple[RouteView, ...]:
        """The configured routes, and removed ones that still have tunnels."""
        in_use = {tunnel.route for tunnel in self._ledger.tunnels.values()}
        removed = [spec for name, spec in self._removed.items() if name in in_use]
        return tuple(self._route_view(spec, now) for spec in (*self._config.routes, *removed))

    def _route_view(self, spec: RouteSpec, now: float) -> RouteView:
        has_left = spec.name not in self._serving.dialers  # removed or disabled: it drains as long as it has tunnels
        draining = self._draining or spec.name in self._drained
        view = self._ledger.route_view(spec, self._deciding.views(spec), draining=draining, now=now)
        absent = self._presence.absence(spec, now=now)
        return replace(view, draining=draining or (has_left and view.tunnels > 0), absent=absent)

    def drain_route(self, name: str) -> SteeredView | None:
        """Give a route no new tunnels; its idle ones are released, those at work finish. None where there is none.

        It stays so over a reload, until `resume_route`.
        """
        if (spec := self._spec(name)) is None:
            return None
        self._drained.add(name)
        self._leaving.drain(name)
        return self._steered("route_draining", spec)

    def resume_route(self, name: str) -> SteeredView | None:
        """Give a route tunnels again. None where there is none of the name."""
        if (spec := self._spec(name)) is None:
            return None
        self._drained.discard(name)
        self._leaving.resume(name)
        return self._steered("route_resumed", spec)

    def _spec(self, name: str) -> RouteSpec | None:
        return next((spec for spec in self._config.routes if spec.name == name), None)

    def _steered(self, event: str, spec: RouteSpec) -> SteeredView:
        in_use = tuple(name for name in self._serving.dialers if name not in self._drained)
        view = SteeredView(self._route_view(spec, self._clock()), in_use)
        log.info(event, name=spec.name, tunnels=view.route.tunnels, in_use=in_use)
        return view

    async def look_around(self) -> None:
        """Find out where this machine is before the listeners open: the first client is to have what is known."""
        await self._roaming.look_around()

    def started(self, listening: Sequence[str]) -> None:
        """The listeners are open, at these addresses: say what was found, be ready, and watch the network."""
        self._listening = tuple(listening)
        for spec in self._config.routes:
            state = "disabled" if spec.disabled else spec.describe()
            log.info("route", name=spec.name, way=state, names=spec.names, cost=spec.cost, origin=spec.origin)
        log.info("listening", addresses=listening)
        self._roaming.start()

    async def reload(self, load: Load, listen: Listen) -> Config | None:
        """Go over to the configuration that `load` gives; None where it cannot be used: then nothing was changed.

        Requests that are under way end as they began; the next one is served by the new configuration. No tunnel is
        waited for. Dialers are made anew: a proxy's CA bundle may be another now, and what DNS servers said is cheap.
        """
        try:
            loaded = load()
            config = replace(loaded, **{key: getattr(self._config, key) for key in AT_START})
            deciding = self._decide(config)
            dialers = self._dial_with(config, deciding)
            listening = await listen(config.listen)
        except ConfigError as error:
            self._not_reloaded(error.problems)
            return None
        except ListenError as error:
            message, _, hint = str(error).partition("\nhint: ")
            self._not_reloaded([Problem(config.path or "default", "listen", message, hint)])
            return None
        changes = compare(self._config, loaded)
        self._listening = tuple(listening)
        self._adopt(config, deciding, dialers, changes)
        self._drained &= {spec.name for spec in config.routes}
        self._ledger.forget(changes.forgotten)
        self._verifying.forget_routes(changes.forgotten)
        self._measuring.reloaded(config.health.probe_bytes, changes.forgotten)
        self._note_reload(changes)
        self._roaming.reloaded()
        return config

    def _adopt(self, config: Config, deciding: Deciding, dialers: Dialers, changes: Changes) -> None:
        """Serve the next request by this configuration."""
        here = {spec.name for spec in config.routes}
        known = self._removed | {spec.name: spec for spec in self._config.routes}
        self._removed = {name: spec for name, spec in known.items() if name not in here}
        self._serving.access.retire()
        self._config, self._deciding, self._dialers = config, deciding, dialers
        self._serving = replace(
            self._serving,
            rank=deciding.take,
            dialers=dialers.by_route,
            access=Access(config.access),
            failover=config.failover,
            limits=self._limits(config),
        )
        self._leaving.routes(changes.left)

    def rank(self, target: Target) -> Ranking:
        """The routes for a target (deciding.py). Raises Refused."""
        return self._deciding.rank(target)

    @property
    def config(self) -> Config:
        """The present configuration."""
        return self._config

    def offer(self, routes: Sequence[RouteSpec], *, anew: bool) -> Changes:
        """Take what the machine offers now, where the configuration names no routes; `anew`: decide anew in any case.

        What was learned of a route that goes is kept, and that it is drained: it is the same when it is back.
        """
        config = with_offers(self._config, routes)
        changes = compare(self._config, config)
        if anew or config != self._config:
            deciding = self._decide(config)
            self._adopt(config, deciding, self._dial_with(config, deciding), changes)
        return changes

    def doubt(self, routes: Collection[str]) -> None:
        """The network has changed, or the machine slept: what was found of these routes may not hold any more."""
        self._ledger.network_changed(routes, now=self._clock())
        self._dialers.forget()
        self._verifying.forget()
        self._serving = replace(self._serving, pacing=Pacing())
        self._measuring.changed()

    def _not_reloaded(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            log.error("not_reloaded", place=problem.place, key=problem.key, why=problem.message, hint=problem.hint)
        self._reload = ReloadView(self._reload.count + 1, ok=False, problems=tuple(map(str, problems)))
        self._reloaded_at = self._clock()

    def _note_reload(self, changes: Changes) -> None:
        told = {name: getattr(changes, name) for name in ("added", "removed", "changed", "kept", "settings")}
        log.info("reloaded", file=self._config.path, **told)
        if changes.restart:
            log.warning("restart_needed", keys=changes.restart, why="they are taken at the start")
        self._reload = ReloadView(self._reload.count + 1, ok=True, restart=changes.restart, **told)
        self._reloaded_at = self._clock()

    @property
    def longest_stop(self) -> float:
        """Seconds that `drain` and `release_all` take at most."""
        return self._config.limits.drain + self._config.limits.linger + RELEASE_GRACE

    def begin_draining(self) -> None:
        """Be ready no more. Requests of clients that were accepted before are still served."""
        self._draining = True

    async def drain(self) -> bool:
        """Wait for the open tunnels, at most `limits.drain` seconds; idle ones are released. True when all ended.

        The listeners are the caller's to close before.
        """
        self._leaving.all()
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
        self._roaming.close()
        self._leaving.close()
        self._verifying.close()
        self._dialers.close()
        self._serving.close()
        self._measuring.close()
