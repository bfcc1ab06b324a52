"""Resolvers for tests: a table of names, and one that never answers."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence

from towline.errors import DialError
from towline.net.resolve import Endpoint, literal
from towline.types import Blame, OutcomeKind, Phase


class TableResolver:
    """Answers from a table, without suspending; a literal address is its own answer."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int, *, deadline: float) -> list[Endpoint]:
        """See Resolver."""
        if (endpoint := literal(host, port)) is not None:
            return [endpoint]
        self.asked.append(host)
        if host not in self._names:
            raise DialError(OutcomeKind.UNRESOLVED, Phase.RESOLVE, Blame.TARGET, "no such host")
        return [Endpoint(ipaddress.ip_address(address), port) for address in self._names[host]]


class SilentResolver:
    """Never answers, and leaves the deadline to its caller; `asked` is set when it is waited for."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def resolve(self, host: str, port: int, *, deadline: float) -> list[Endpoint]:
        """See Resolver."""
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError
