"""What a change of this machine's network, or a sleep, does to the routes and to the tunnels that are open.

    an interface came or went     where the configuration names no routes, routes come and go with it
    a route may lead elsewhere    what was found of it lately is in doubt
    it is another network         what was learned in the old one is kept, what is known of the new one is recalled
    a tunnel's interface or       it is stranded, and released as its client can bear it (core/stranded.py): FIN, for
    address is gone               it to resume. An idle one goes at once, which costs nothing
    packets leave another way,    tunnels are tested: the kernel asks each peer whether it is still there (net/leg.py).
    or the machine slept          What the network or a NAT has forgotten ends in seconds, the rest goes on

No route is blamed for any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Collection, Sequence
from functools import cache
from typing import Protocol

import structlog

from towline.config import Config
from towline.config.changes import Changes
from towline.core.presence import Presence
from towline.core.stranded import Stranded
from towline.deciding import fakes
from towline.errors import ConfigError, Refused
from towline.net import discover
from towline.net.leg import HURRIED
from towline.net.relay import Relay
from towline.net.watch import Change, NetworkWatch
from towline.remembering import Remembering
from towline.types import IPAddress, Ranking, RouteSpec, Target
from towline.views import NetworkView
from towline.watching import Watching

log = structlog.get_logger("towline")

FIRST_LOOK = 2.0  # seconds that a start waits for it; it takes some milliseconds, or one second where a router is new
TEST_LASTS = HURRIED + 1.0  # seconds after which a tested connection has ended or answered


class Composed(Protocol):
    """What the service has composed, as far as the network concerns it."""

    @property
    def config(self) -> Config:
        """The present configuration."""
        ...

    def rank(self, target: Target) -> Ranking:
        """The routes for a target. Raises Refused."""
        ...

    def offer(self, routes: Sequence[RouteSpec], *, anew: bool) -> Changes:
        """Take what the machine offers, where the configuration names no routes; `anew`: decide anew in any case."""
        ...

    def doubt(self, routes: Collection[str]) -> None:
        """What was found of these routes lately may not hold any more."""
        ...


class Roaming:
    """Watches the network for one Service, and acts. `close()` before the loop ends."""

    def __init__(self, composed: Composed, watching: Watching, presence: Presence, remembering: Remembering) -> None:
        """`presence` is written here and read where routes are ranked."""
        self._composed = composed
        self._watching = watching
        self._presence = presence
        self._remembering = remembering
        self._loop = asyncio.get_running_loop()
        self._network = NetworkWatch(self.changed)
        self._changed_at: float | None = None
        self._lost: frozenset[IPAddress] = frozenset()
        """Addresses of this machine that open tunnels leave from, and that it has no more."""
        self._tested: set[Relay] = set()
        self._calming: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch from now on; a second time does nothing."""
        self._network.start()
        self._remembering.start()

    async def look_around(self) -> None:
        """Start, and return when the network is known and what was learned in it is recalled: in time for a client."""
        self.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                await self._network.looked.wait()

    def close(self) -> None:
        """Watch no more."""
        self._network.close()
        self._remembering.close()
        if self._calming is not None:
            self._calming.cancel()

    def view(self) -> NetworkView:
        """The network as it is now."""
        network, at, recalled_at = self._presence.network, self._changed_at, self._remembering.recalled_at
        return NetworkView(
            fingerprint=self._remembering.fingerprint,
            recalled_seconds_ago=None if recalled_at is None else self._loop.time() - recalled_at,
            ways_out=() if network is None else tuple(way.describe() for way in network.ways_out),
            changed_seconds_ago=None if at is None else self._loop.time() - at,
        )

    def reloaded(self) -> None:
        """Another configuration serves: what the machine offers may have changed since that was read."""
        self._rediscover()

    def _rediscover(self, *, anew: bool = False) -> dict[str, tuple[str, ...]]:
        """Offer what the machine has now; gives the routes that came and went."""
        network = self._presence.network
        if network is None:
            return {}
        found, _ = discover.find(
            network.interfaces, os.environ, own=self._composed.config.listen, can_bind=discover.CAN_BIND
        )
        try:
            changes = self._composed.offer(found, anew=anew)
        except ConfigError as error:  # a file that it names is gone since: what serves goes on, its tunnels are seen to
            for problem in error.problems:
                place, hint = problem.place, problem.hint
                log.error("offers_not_taken", place=place, key=problem.key, why=problem.message, hint=hint)
            return {}
        return {name: names for name in ("added", "removed", "changed") if (names := getattr(changes, name))}

    def changed(self, change: Change) -> bool:
        """Act upon a change; where it mattered, say so. True where it did."""
        now = self._loop.time()
        self._remembering.keep()  # before it is in doubt
        self._presence.seen(change.after, change.difference, now=now)
        offers = self._rediscover(anew=_differ_in_fakes(change))
        routes = self._composed.config.routes
        concerned = [spec.name for spec in routes if change.slept or change.difference.concerns(spec)]
        if concerned:
            self._changed_at = now
            self._composed.doubt(concerned)
        self._remembering.arrive(change.after)
        released, tested = self._see_to_tunnels(change)
        mattered = bool(concerned or offers or released)
        if mattered:
            counts = {"released": released, "tested": tested}
            log.info("network_changed", what=change.words(), concerned=concerned, **offers, **counts)
        return mattered

    def _see_to_tunnels(self, change: Change) -> tuple[int, int]:
        """Release what is bound to what is gone, and test what may be dead; gives how many of each."""
        self._note_lost(change)
        if change.slept:
            self._watching.woke()
        if change.difference:
            self._watching.excuse()
        in_doubt = bool(change.slept or change.difference.elsewhere)
        refuge = cache(self._refuge)  # one ranking for each target, however many tunnels it has
        released = tested = 0
        for watched, relay in self._watching.under_way():
            reason = self._why_dead(relay)
            if reason:
                stranded = Stranded(reason, refuge(watched.tunnel.target))
                released += self._watching.strand(watched, stranded)
                continue
            if watched.stranded is not None:
                self._watching.strand(watched, None)
            if in_doubt:
                self._test(relay)
                tested += 1
        return released, tested

    def _note_lost(self, change: Change) -> None:
        if change.after is None:
            return
        before = frozenset() if change.before is None else change.before.addresses
        in_use = {way.address for _, relay in self._watching.under_way() if (way := relay.leg.way) is not None}
        self._lost = ((self._lost | before) - change.after.addresses) & in_use

    def _why_dead(self, relay: Relay) -> str:
        """Why nothing can come over this tunnel any more; "" where it can."""
        way, network = relay.leg.way, self._presence.network
        if way is None or network is None:
            return ""
        if way.interface and way.interface not in network.indexes:
            return "the interface that it left by is gone"
        return f"its address {way.address} is gone" if way.address in self._lost else ""

    def _refuge(self, target: Target) -> str | None:
        """The best route for a target that leads out of this machine as it is now."""
        try:
            candidates = self._composed.rank(target).candidates
        except Refused:  # by a configuration that was reloaded since
            return None
        specs = {spec.name: spec for spec in self._composed.config.routes}
        now = self._loop.time()
        leading = (one.route for one in candidates if self._presence.leads_out(specs[one.route], now=now))
        return next(leading, None)

    def _test(self, relay: Relay) -> None:
        relay.leg.hurry()
        self._tested.add(relay)
        if self._calming is not None:
            self._calming.cancel()
        self._calming = self._loop.call_later(TEST_LASTS, self._calm)

    def _calm(self) -> None:
        for relay in self._tested:
            relay.leg.calm()
        self._tested.clear()


def _differ_in_fakes(change: Change) -> bool:
    """Whether a TUN-mode proxy came or went: the guard lets its fake addresses pass while it runs."""
    if change.before is None or change.after is None:
        return False
    return fakes(change.before.addresses) != fakes(change.after.addresses)
