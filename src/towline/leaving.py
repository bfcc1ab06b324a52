"""Tunnels that are to go: released as each falls idle, so that no client reuses them. One at work is left to finish.

    routes(names)   what was opened over these routes until now: a reload took them out or changed them
    drain(name)     likewise, until resume(name): the operator wants the route to be left
    all()           every tunnel, also those to come: Towline is stopping

Clients keep idle tunnels for their next request (dockerd and containerd for 30 s, clients.md A.7) and open a new one
where theirs was closed. Idle is one that is silent for some seconds while its client has everything and asks nothing.
Each look is timed for the moment at which the next tunnel can be due; where none is to go, there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from towline.core.ledger import Ledger, Tunnel
from towline.core.stall import BULK
from towline.net.relay import Relay

AFTER_RELOAD = 2.0  # seconds of silence; a tunnel of a route that is gone serves for nothing but to be reused
AT_STOP = 5.0  # seconds of silence: longer, since a request over it finds no other Towline yet
ANSWERED_BY = 15.0  # seconds that a request may wait for its answer: dockerd's token calls end then (clients.md A.7);
# and that a layer may halt, for which the watch over tunnels (core/stall.py) has done all it can do by then
SHORTEST_PAUSE = 0.05  # seconds between two looks, where a tunnel is due the next moment or bytes are still queued


class Leaving:
    """The tunnels that are to go. `close()` before the loop ends."""

    def __init__(self, ledger: Ledger, relays: Mapping[int, Relay]) -> None:
        """Both stay the caller's: the open tunnels, and by number the relays of those that have one."""
        self._loop = asyncio.get_running_loop()
        self._ledger = ledger
        self._relays = relays
        self._last: dict[str, int] = {}
        """Route -> number of the last tunnel that may have been opened over it as it was."""
        self._drained: dict[str, int] = {}
        """The same for routes that the operator drains."""
        self._stopping = False
        self._released: set[int] = set()
        self._next: asyncio.TimerHandle | None = None

    def routes(self, names: Iterable[str]) -> None:
        """Let go of the tunnels of these routes that are open or in their race; those opened from now on may stay."""
        self._last.update(dict.fromkeys(names, self._ledger.opened))
        self._look()

    def drain(self, name: str) -> None:
        """Let go of the tunnels of this route that are open or in their race."""
        self._drained[name] = self._ledger.opened
        self._look()

    def resume(self, name: str) -> None:
        """Those of them that are still open may stay."""
        self._drained.pop(name, None)

    def all(self) -> None:
        """Let go of every tunnel."""
        self._stopping = True
        self._look()

    def close(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()

    def _look(self) -> None:
        """Release what is due, and look again when something else can be."""
        self.close()
        self._released &= self._ledger.tunnels.keys()
        pauses = [
            self._judge(tunnel, patience)
            for tunnel in self._ledger.tunnels.values()
            if tunnel.id not in self._released and (patience := self._patience(tunnel)) is not None
        ]
        if waiting := [pause for pause in pauses if pause is not None]:
            self._next = self._loop.call_later(max(min(waiting), SHORTEST_PAUSE), self._look)

    def _patience(self, tunnel: Tunnel) -> float | None:
        """Seconds of silence after which this tunnel goes if it is idle; None where it may stay.

        A race that began before a reload or a drain may yet be won by a route that has left.
        """
        if self._stopping:
            return AT_STOP
        marks = (self._last, self._drained)
        if tunnel.route is None:
            last = max((number for mark in marks for number in mark.values()), default=0)
        else:
            last = max(mark.get(tunnel.route, 0) for mark in marks)
        return AFTER_RELOAD if tunnel.id <= last else None

    def _judge(self, tunnel: Tunnel, patience: float) -> float | None:
        """Release the tunnel if it is due; else the seconds until it can be."""
        relay = self._relays.get(tunnel.id)
        if relay is None or relay.queued_in:  # in its race or first flight; its client is slow, not idle
            return patience
        is_asking = relay.last_out > relay.last_in
        if is_asking and relay.bytes_out > relay.bytes_in:  # an upload: registries take their time to store a layer
            return patience
        # After much of an answer it may be idle, or its layer halts: at a reload there is time to let it show.
        may_halt = relay.bytes_in >= BULK and not self._stopping
        left = (ANSWERED_BY if is_asking or may_halt else patience) - (self._loop.time() - relay.last_activity)
        if left > 0:
            return min(left, patience)
        self._released.add(tunnel.id)
        relay.release()
        return None
