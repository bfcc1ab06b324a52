"""A tunnel under watch: what watching.py knows of it, what its end means, and what those that go as it does tell."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass

from towline.core.ledger import Tunnel
from towline.core.releases import Past
from towline.core.stall import HANDSHAKE_END, Cause, Watch
from towline.core.stranded import Stranded
from towline.core.tls import ended_cleanly
from towline.net.dialer import Dialer
from towline.net.ends import End
from towline.net.relay import Relay
from towline.types import Address

QUIET = 0.25
"""Seconds of silence after which a tunnel that was asked nothing is idle: less than the 1 s that containers/image waits
before it returns (clients.md A.2), more than a client needs between handshake and request."""
IDLE = 5.0
"""Seconds of silence after which an end is an idle connection's, and no cut; our choice."""

_GONE = {End.UPSTREAM_RESET, End.UPSTREAM_TIMEOUT, End.UPSTREAM_ERROR}


@dataclass(slots=True)
class Watched:
    """One tunnel under watch. `relay` is None until its first flight is over."""

    tunnel: Tunnel
    client: str
    ends: tuple[Address, Address]
    """The client's address, and ours that it connected to."""
    past: Past
    relay: Relay | None = None
    watch: Watch | None = None
    stranded: Stranded | None = None
    """Its way out is gone, and how."""
    tls: bool = False
    http2: bool = False
    raced: bool = False
    """Its first flight was answered before it relayed."""
    dialer: Dialer | None = None
    """What its route was dialled by: after a reload the name may mean another way out."""
    process: str | None = None
    process_asked: bool = False
    still_together_at: float = -math.inf
    """When it was last found to stand still together with others."""
    refused: Cause | None = None
    """Of the last wish to release it that was not granted; each is logged once."""

    def same_way(self, other: Watched) -> bool:
        """Whether it goes by the same way out."""
        return self.tunnel.route == other.tunnel.route and self.dialer is other.dialer

    def goes_as(self, other: Watched) -> bool:
        """Whether it goes to the same target by the same way out."""
        return self.tunnel.target == other.tunnel.target and self.same_way(other)

    def is_idle(self, now: float) -> bool:
        """Whether its client has everything and has asked nothing for QUIET seconds: it may go, at no cost.

        A connection that was just made is not idle: Go makes one for a request that comes a moment later.
        """
        relay, watch = self.relay, self.watch
        if relay is None or watch is None or relay.queued_in or now - relay.last_activity < QUIET:
            return False
        asks = relay.last_out > relay.last_in and relay.bytes_out > HANDSHAKE_END
        return watch.is_idle and not asks  # the watch says so as of its last look, which may be older

    def is_cut(self, end: End, *, now: float) -> bool:
        """Whether a first end is the route's fault: it came while bytes were due, and was no ordinary end.

        A client that is done says close_notify before its FIN, and some servers end on that (nginx, without one of
        their own), a moment before the FIN is seen here.
        """
        relay = self.relay
        if relay is None:
            return False
        in_use = relay.last_out > relay.last_in or now - relay.last_activity < IDLE
        if not in_use or (self.tls and ended_cleanly(relay.client_tail)):
            return False
        return end in _GONE or (end is End.UPSTREAM_FIN and self.tls and not ended_cleanly(relay.tail))


def stand_still_together(watched: Watched, others: Iterable[Watched], *, suspect_after: float) -> bool:
    """Whether several tunnels to a host over a route are silent in or after an answer, and none of them moves.

    The last of them is one of several still when the others have been released.
    """
    now = asyncio.get_running_loop().time()
    still: list[Watched] = []
    for other in others:
        relay, watch = other.relay, other.watch
        if not other.goes_as(watched) or relay is None or watch is None or not watch.stands_still:
            continue
        if now - relay.last_in < suspect_after:
            return False
        still.append(other)
    if len(still) > 1:
        for other in still:
            other.still_together_at = now
    return watched.relay is not None and watched.still_together_at > watched.relay.last_activity


def pace_together(watched: Watched, others: Iterable[Watched]) -> float:
    """Bytes a second of all tunnels to a host over a route, each as of its last look."""
    return sum(other.watch.pace for other in others if other.watch is not None and other.goes_as(watched))
