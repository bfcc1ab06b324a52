"""Which routes are there at all, as far as this machine alone can tell: a route whose interface is gone is ranked last.

It is not left out: what the system says of an interface may be wrong, and a dial by one that is gone costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from towline.core.network import Difference, Network
from towline.core.settling import Dampening
from towline.types import IPAddress, Ranking, RouteSpec

MAX_LOST = 256  # addresses that are remembered to be lost: temporary ones of IPv6 come and go by the day


class Presence:
    """The machine's network as it was last seen, and how steady its interfaces are."""

    def __init__(self) -> None:
        self.network: Network | None = None
        """None while it is not known: then every route is taken to be there."""
        self._lost: dict[IPAddress, None] = {}
        """Addresses that this machine had and has no more, the latest last. One that it was never seen with may be its
        own all the same: 127.0.0.2 is, and so is what a local route leads here."""
        self._dampening = Dampening()

    def seen(self, network: Network | None, difference: Difference, *, now: float) -> None:
        """The network is like this now, with this difference to before."""
        if network is not None:
            self._lost.update(dict.fromkeys(difference.addresses))
            self._lost = {ip: None for ip in list(self._lost)[-MAX_LOST:] if ip not in network.addresses}
        self.network = network
        self._dampening.note(gone=difference.gone, come=difference.come, now=now)

    def absence(self, spec: RouteSpec, *, now: float) -> str | None:
        """Why a route is not there, or not to be counted on yet; None where it is."""
        if self.network is None:
            return None
        if spec.source in self._lost:
            return f"source {spec.source} is gone"
        if spec.interface is None:
            return None
        return self.network.absence(spec.interface) or self._dampening.distrusts(spec.interface, now=now)

    def leads_out(self, spec: RouteSpec, *, now: float) -> bool:
        """Whether a connection could be made over this route now; one without a way of its own takes the machine's."""
        if self.network is not None and spec.interface is None and spec.source is None and not self.network.ways_out:
            return False
        return self.absence(spec, now=now) is None


def absent_last(ranking: Ranking, absence: Callable[[str], str | None]) -> Ranking:
    """The ranking with absent routes behind all others, for that reason; the choice is one that is here."""
    here, absent = [], []
    for candidate in ranking.candidates:
        if reason := absence(candidate.route):
            absent.append(replace(candidate, reason=reason))
        else:
            here.append(candidate)
    if not absent:
        return ranking
    is_here = not here or any(one.route == ranking.choice for one in here)
    return replace(ranking, candidates=(*here, *absent), choice=ranking.choice if is_here else here[0].route)
