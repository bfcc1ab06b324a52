"""File descriptors: the limit that decides how much this process can hold at once.

An asyncio server that runs out of them neither accepts nor refuses: it spins, and new clients hang (measured: 12,545
tracebacks in 6 s at a limit of 64). So the soft limit is raised to the hard one at the start, and everything that holds
descriptors is kept to what `capacity_within` says: the next client gets a 503 instead.
"""

from __future__ import annotations

import resource

from towline.core.policy import Capacity
from towline.net.pipes import PIPE_LIMIT

RESERVED = 64
"""Descriptors kept for standard streams, event loop, listeners, admin connections, lookups and probes."""

PER_TUNNEL = 3
"""The client's socket, the duplicate of it that the relay has, and the upstream."""

PER_DIAL = 2
"""Most dials try one address; one to a host with several may have four under way (net/addresses.py)."""

PER_PIPE = 2
"""Its two ends."""

SHARES = {"pipes": 1 / 8, "heads": 1 / 8, "dials": 1 / 4}
"""Of what is not reserved, until there is enough; tunnels have the rest. Our choice."""

MAX_HEADS = 16_384
MAX_DIALS = 16_384

OPEN_MAX = 10_240
"""What an infinite limit is taken for: the most that macOS accepts where it reports one (setrlimit(2) there)."""


def raise_limit() -> tuple[int, int]:
    """Raise the soft limit of descriptors (RLIMIT_NOFILE) to the hard one; returns the soft limit before and after.

    Every process may do so; where a system refuses all the same, the limit stays as it was.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before, wanted = _finite(soft), _finite(hard)
    if wanted <= before:
        return before, before
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return before, before
    return before, wanted


def capacity_within(limit: int) -> Capacity:
    """What a soft limit of `limit` descriptors can hold, all of it at once."""
    free = max(0, limit - RESERVED)
    pipes = min(PIPE_LIMIT, int(free * SHARES["pipes"]) // PER_PIPE)
    heads = min(MAX_HEADS, int(free * SHARES["heads"]))
    dials = min(MAX_DIALS, int(free * SHARES["dials"]) // PER_DIAL)
    tunnels = (free - pipes * PER_PIPE - heads - dials * PER_DIAL) // PER_TUNNEL
    return Capacity(tunnels=tunnels, heads=heads, dials=dials, pipes=pipes)


def _finite(limit: int) -> int:
    return OPEN_MAX if limit == resource.RLIM_INFINITY else limit
