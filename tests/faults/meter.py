"""What a pull moves, counted by the kernel: neither Towline nor the client is asked.

fetched   payload that Towline passed to its clients: what a client fetched twice is in there twice
sent      payload that the registry's hosts sent: also what got lost, or stayed in the buffers of a dead route
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.e2e.rig.namespace import Namespace
from tests.e2e.rig.towline import PROXY_ADDRESS
from tests.e2e.rig.world import LINKS, REGISTRY, WEB, World
from tests.faults.links import counters

HEADERS = 52  # bytes before the payload: IPv4 20, TCP 20, its timestamps 12
RECEIVED = 1  # column of bytes received in /proc/net/dev, after the name


class Moved(NamedTuple):
    """Bytes of payload."""

    fetched: int
    sent: int

    def since(self, before: Moved) -> Moved:
        """What was moved after `before` was read."""
        return Moved(self.fetched - before.fetched, self.sent - before.sent)


NOTHING = Moved(0, 0)


class Meter:
    """Counts in one world, from when it is made."""

    def __init__(self, world: World) -> None:
        self._near = world.near
        self._far = world.far
        _count(self._near, f'oifname "lo" tcp sport {PROXY_ADDRESS[1]}')
        _count(self._far, f"ip saddr {{ {REGISTRY}, {WEB} }} tcp sport 443")

    def read(self) -> Moved:
        """All so far."""
        return Moved(_payload(self._near), _payload(self._far))

    def received(self) -> int:
        """Bytes that have come over the links so far, headers included: cheap, for whoever waits for a moment."""
        lines = Path(f"/proc/{self._near.pid}/net/dev").read_text().splitlines()
        fields = [line.replace(":", " ").split() for line in lines]
        return sum(int(field[RECEIVED]) for field in fields if field[0] in LINKS)


def _count(side: Namespace, match: str) -> None:
    chain = f"chain passing {{\ntype filter hook output priority raw;\n{match} counter name payload\n}}"
    side.run("nft", "-f", "-", stdin=f"table inet moved {{\ncounter payload {{ }}\n{chain}\n}}\n")


def _payload(side: Namespace) -> int:
    packets, size = counters(side, "moved")["payload"]
    return size - packets * HEADERS
