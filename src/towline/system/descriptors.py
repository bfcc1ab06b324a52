"""File descriptors: the limit that decides how many tunnels this process can hold.

An asyncio server that runs out of them neither accepts nor refuses: it spins, and new clients hang (measured: 12,545
tracebacks in 6 s at a limit of 64). So the soft limit is raised to the hard one at the start, and the tunnels that are
admitted are kept to what `tunnels_within` says, so that the next client gets a 503 instead.
"""

from __future__ import annotations

import resource

RESERVED = 64 + 2 * 32
"""Descriptors kept for everything but tunnels: standard streams, event loop, listeners, admin connections, lookups; and
the two ends of each pipe that the pool may have (net/pipes.py)."""

PER_TUNNEL = 4
"""Descriptors of one tunnel at its most: the client's socket, and in the race the dials that are under way at once
(failover.max_parallel); later one upstream, and the duplicate of the client's that the relay has."""

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


def tunnels_within(limit: int) -> int:
    """How many tunnels a soft limit of `limit` descriptors can hold, all of them moving bytes at once."""
    return max(0, (limit - RESERVED) // PER_TUNNEL)


def _finite(limit: int) -> int:
    return OPEN_MAX if limit == resource.RLIM_INFINITY else limit
