"""Probes a target over several routes at once, for the watch over tunnels (watching.py): who is alive?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from towline.core.health import Health
from towline.core.ledger import Ledger, Tunnel
from towline.errors import Refused
from towline.net.alive import Alive, is_alive
from towline.net.dialer import Dialer
from towline.types import Ranking, Target

PROBE_TIME = 1.0  # seconds that a probe has at least; a tunnel that is probed has been silent for longer already
MAX_PROBE_TIME = 2.5  # seconds that it has at most, over a route that is usually slow
OTHERS = 2  # routes that are probed beside the tunnel's own


@dataclass(frozen=True, slots=True)
class Probing:
    """Probes with what the present configuration has."""

    ledger: Ledger
    rank: Callable[[Target], Ranking]
    dialers: Callable[[], Mapping[str, Dialer]]

    async def find(self, tunnel: Tunnel, own: Dialer | None, *, plain: bool) -> list[tuple[str, Alive]]:
        """The tunnel's own route (dialled as `own` does) and the next best ones, each with what was found.

        `plain`: its clients speak without TLS. The probes run side by side; how long is for `_time` to say.
        """
        route = tunnel.route or ""
        dialers = self.dialers()
        others = [(name, dialers[name]) for name in self._ranked(tunnel.target) if name != route and name in dialers]
        ways = [(route, own), *others[:OTHERS]]
        found = await asyncio.gather(*[self._try(name, dialer, tunnel, plain=plain) for name, dialer in ways])
        return _as_clients_may_see(list(zip([name for name, _ in ways], found, strict=True)))

    def _ranked(self, target: Target) -> list[str]:
        """The routes for a target; none where a reload forbids it, and only its own route is left to ask about."""
        try:
            return [candidate.route for candidate in self.rank(target).candidates]
        except Refused:
            return []

    async def _try(self, route: str, dialer: Dialer | None, tunnel: Tunnel, *, plain: bool) -> Alive:
        if dialer is None:
            return Alive(ok=False, detail="gone", seconds=0.0)
        deadline = asyncio.get_running_loop().time() + self._time(route, tunnel)
        return await is_alive(tunnel.target, dialer, deadline=deadline, plain=plain)

    def _time(self, route: str, tunnel: Tunnel) -> float:
        """Seconds for a probe: twice what dial and answer usually take over this route, within bounds."""
        kind = tunnel.classification
        health = self.ledger.health.get((route, kind.registry, kind.role)) or Health()
        usual = (health.dial.usual() or 0.0) + (health.answer.usual() or 0.0)
        return min(max(2 * usual, PROBE_TIME), MAX_PROBE_TIME)


def _as_clients_may_see(found: list[tuple[str, Alive]]) -> list[tuple[str, Alive]]:
    """What was found, where no route was reached but some had a certificate that is not trusted here: those are alive.

    The client may know their authority (net/alive.py). Beside a route that was reached, they are not the registry.
    """
    if any(alive.ok for _, alive in found):
        return found
    return [(route, replace(alive, ok=alive.untrusted)) for route, alive in found]
