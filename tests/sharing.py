"""Evidence that the layers of a registry share a route, for tests of what follows from it."""

from __future__ import annotations

from towline.core.spread import Sharing


def share(
    sharing: Sharing, route: str, alone: float, *, now: float, tunnels: int = 2, together: float | None = None
) -> None:
    """Tunnels carry `together` bytes a second over a route now, where one carried `alone` before, and again since.

    Without `together` they carry as much as the one did.
    """
    for age in (60, 45):
        sharing.carried(1, route, alone, now=now - age)
    for tunnel in range(1, tunnels + 1):
        sharing.began(tunnel, route, now=now)
    part = (alone if together is None else together) / tunnels
    for tunnel in range(1, tunnels + 1):
        sharing.carried(tunnel, route, part, now=now)
