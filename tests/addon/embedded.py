"""mitmproxy in the test's own loop, around a service that the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mitmproxy.master import Master

from towline.core.head import Request
from towline.core.policy import LimitsPolicy
from towline.errors import Refused
from towline.proxy.handoff import HeldClient

DEADLINE = 10.0  # seconds within which anything here must have happened

type Serve = Callable[[Request | Refused, HeldClient], Awaitable[None]]


@dataclass
class ScriptedService:
    """Stands where the Service stands; `serve` is the test's."""

    serve: Serve
    is_started: asyncio.Event = field(default_factory=asyncio.Event)
    limits: LimitsPolicy = field(default_factory=LimitsPolicy)
    away: list[str] = field(default_factory=list)
    """The clients that had to go."""
    clients: int = 0
    """Those that were accepted."""
    longest_stop: float = 1.0

    def turned_away(self, client: str) -> None:
        self.away.append(client)

    def accepted(self) -> None:
        self.clients += 1

    def started(self, listening: Sequence[str]) -> None:
        assert listening
        self.is_started.set()

    def begin_draining(self) -> None:
        return None

    async def drain(self) -> bool:
        return True

    async def release_all(self) -> None:
        return None


@dataclass
class Listener:
    """The supervisor: keeps what it was told."""

    told: list[str] = field(default_factory=list)

    def ready(self) -> None:
        self.told.append("ready")

    def stopping(self, seconds: float) -> None:
        self.told.append(f"stopping within {seconds:g} s")


@dataclass
class Embedded:
    """A running master and where it listens."""

    master: Master
    port: int
    service: ScriptedService

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    @property
    def connections(self) -> int:
        return len(self.master.addons.get("proxyserver").connections)

    async def idle(self) -> None:
        """Wait until mitmproxy has forgotten every connection."""
        async with asyncio.timeout(DEADLINE):
            while self.connections:  # noqa: ASYNC110 - mitmproxy has no event for it
                await asyncio.sleep(0.005)


type Embed = Callable[[Serve], Awaitable[Embedded]]
