"""File descriptors: the limit that decides how much this process can hold at once.

An asyncio server that runs out of them neither accepts nor refuses: it spins, and new clients hang (measured: 12,545
tracebacks in 6 s at a limit of 64). So the soft limit is raised to the hard one at the start, and everything that holds
descriptors is kept to what they can hold (core/capacity.py): the next client gets a 503 instead.
"""

from __future__ import annotations

import resource

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


def _finite(limit: int) -> int:
    return OPEN_MAX if limit == resource.RLIM_INFINITY else limit
