"""What a number of file descriptors can hold at once, shared out so that nothing that is wanted starves the rest.

    within(limits, descriptors)    the limits, lowered where they would need more descriptors than there are
    pipes_within(descriptors)      how many pipes the relays may borrow

A process that runs out of descriptors neither accepts nor refuses: its clients hang. So all that holds one is bounded,
and the sum of the bounds fits.
"""

from __future__ import annotations

from dataclasses import replace

from towline.core.policy import LimitsPolicy

RESERVED = 64
"""Descriptors kept for standard streams, event loop, listeners, admin connections, lookups and probes."""
PER_TUNNEL = 3
"""The client's socket, the duplicate of it that the relay has, and the upstream."""
PER_DIAL = 2
"""Most dials try one address; one to a host with several may have four under way (net/addresses.py)."""
PER_PIPE = 2
"""Its two ends."""
MAX_PIPES = 32
"""More than so many tunnels do not move bytes in the same turn (net/pipes.py)."""
PIPES, HEADS, DIALS = 1 / 8, 1 / 8, 1 / 4
"""Shares of what is not reserved, at most; tunnels have the rest. Our choice."""


def within(limits: LimitsPolicy, descriptors: int) -> LimitsPolicy:
    """The limits, with no more of anything than there are descriptors for, all of it at once."""
    free = _free(descriptors)
    heads = min(limits.heads, int(free * HEADS))
    dials = min(limits.dials, int(free * DIALS) // PER_DIAL)
    rest = free - pipes_within(descriptors) * PER_PIPE - heads - dials * PER_DIAL
    return replace(limits, tunnels=min(limits.tunnels, rest // PER_TUNNEL), heads=heads, dials=dials)


def pipes_within(descriptors: int) -> int:
    """Pipes that there is room for."""
    return min(MAX_PIPES, int(_free(descriptors) * PIPES) // PER_PIPE)


def _free(descriptors: int) -> int:
    return max(0, descriptors - RESERVED)
