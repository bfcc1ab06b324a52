"""The composed proxy, as far as the admin side asks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from towline.views import ProbedView, Snapshot, SteeredView

type Reload = Callable[[], Awaitable[bool]]
"""Reads the configuration again, as at SIGHUP; what came of it is in the next snapshot. False where there was none."""


async def no_reload() -> bool:
    """Where there is no configuration to be read again."""
    return False


class Running(Protocol):
    """What is shown and steered."""

    def snapshot(self) -> Snapshot:
        """The ledger at this moment."""
        ...

    def explain(self, host: str, port: int) -> dict[str, object]:
        """JSON-ready: target, registry, role, rule, why, refused, candidates and excluded. Raises TargetError."""
        ...

    async def probe(self, host: str | None, port: int) -> list[ProbedView]:
        """Probe a host, or without one the hosts in use, over every route. Raises TargetError and Refused."""
        ...

    def drain_route(self, name: str) -> SteeredView | None:
        """Give a route no new tunnels. None where there is none of the name."""
        ...

    def resume_route(self, name: str) -> SteeredView | None:
        """Give a route tunnels again. None where there is none of the name."""
        ...
