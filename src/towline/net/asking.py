"""What one probe asks of hosts over one route, and the verdict on each host that it met.

    async with asking.of(target, seconds):         a failure in here is the verdict on this host
        response = await asking.send(url)
        body = await asking.body(response)
    asking.tell(target, "gives tokens")            it did what was asked of it
    asking.findings()

What is asked is bounded: https, of hosts that guard and catalogue allow on this route; so many seconds for a question,
so many bytes in all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from towline.core.evidence import Carried, Finding
from towline.errors import DialError, Refused
from towline.net.dialer import Dialer
from towline.net.edge import brief
from towline.net.transport import RouteTransport, Visit
from towline.types import Blame, Classification, OutcomeKind, Phase, Ranking, Target, TargetError

HTTPS = 443  # the port of a URL that names none
MAX_BODY = 64 * 1024  # bytes of an answer that is read whole: a manifest has some 10 KiB

_HEADERS = {"User-Agent": "towline", "Accept": "*/*", "Accept-Encoding": "identity"}


class UnreadableError(Exception):
    """What was asked for cannot be had, which says nothing of the route; the text says why."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is to be told of one host."""

    ok: bool
    detail: str
    blame: Blame = Blame.NONE
    carried: Carried | None = None


class Asking:
    """The questions of one probe. Made and used inside the event loop, as a context that closes its connections."""

    def __init__(self, route: str, dialer: Dialer, *, rank: Callable[[Target], Ranking], most: int) -> None:
        """`rank` says what a host is and which routes may serve it (raises Refused); `most` is bounded in bytes."""
        self.transport = RouteTransport(dialer, most=most)
        self.clock = asyncio.get_running_loop().time
        self.route = route
        self._rank = rank
        self._client = httpx.AsyncClient(transport=self.transport, trust_env=False, headers=_HEADERS)
        self._hosts: dict[Target, Classification] = {}
        self._verdicts: dict[Target, _Verdict] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._client.aclose()

    def classified(self, target: Target, what: Classification) -> None:
        """What a host is."""
        self._hosts[target] = what

    def registry(self, target: Target) -> str:
        """The registry of a host that was admitted."""
        return self._hosts[target].registry

    def admit(self, url: httpx.URL) -> Target:
        """The host of a URL that a registry named, where it may be asked over this route. Raises UnreadableError."""
        host = url.raw_host.decode("ascii", "replace")
        if url.scheme != "https":
            raise UnreadableError(f"sent to {brief(host)} without TLS")
        port = HTTPS if url.port is None else url.port
        try:
            target = Target.parse(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            ranking = self._rank(target)
        except (TargetError, Refused) as error:
            raise UnreadableError(f"sent to {brief(host)}: {error}") from None
        if self.route not in [candidate.route for candidate in ranking.candidates]:
            raise UnreadableError(f"sent to {target}, which this route may not serve")
        self._hosts.setdefault(target, ranking.classification)
        return target

    @asynccontextmanager
    async def of(self, target: Target, seconds: float) -> AsyncIterator[None]:
        """Ask a host, for so many seconds at most. Raises DialError."""
        try:
            async with self.transport.within(self.clock() + seconds):
                yield
        except DialError as error:
            detail = error.detail
            if error.kind is OutcomeKind.TLS:  # whoever answered may not be the host: where was that?
                detail += f", reached at {self.transport.visits[target].peer}"
            self._verdicts[target] = _Verdict(ok=False, detail=detail, blame=error.blame)
            raise

    async def send(self, url: httpx.URL, headers: dict[str, str] | None = None) -> httpx.Response:
        """The answer to a GET, its body still to come. A server that says of itself that it is broken is that."""
        response = await self._client.send(self._client.build_request("GET", url, headers=headers), stream=True)
        if response.is_server_error:
            raise answered(f"the registry is broken ({response.status_code})")
        return response

    async def body(self, response: httpx.Response) -> bytes:
        """The body of an answer, cut after MAX_BODY."""
        body = b""
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_BODY:
                self.transport.in_order = False
                break
        await response.aclose()
        return body

    def tell(self, target: Target, detail: str, carried: Carried | None = None) -> None:
        """A host did what was asked of it."""
        before = self._verdicts.get(target)
        detail = f"{before.detail}, {detail}" if before else detail
        self._verdicts[target] = _Verdict(ok=True, detail=detail, carried=carried)

    def findings(self) -> tuple[Finding, ...]:
        """One for each host that there is a verdict on."""
        return tuple(self._finding(target, verdict) for target, verdict in self._verdicts.items())

    def _finding(self, target: Target, verdict: _Verdict) -> Finding:
        visit = self.transport.visits.get(target, Visit())
        return Finding(
            route=self.route,
            target=target,
            registry=self._hosts[target].registry,
            role=self._hosts[target].role,
            ok=verdict.ok,
            detail=verdict.detail,
            blame=verdict.blame,
            dial=visit.dial,
            first_byte=visit.tls.first_byte if visit.tls else None,
            carried=verdict.carried,
            spent=visit.spent,
        )


def answered(detail: str) -> DialError:
    """What a host itself said, as a failure: where it says so over other routes as well, none of them is at fault."""
    return DialError(OutcomeKind.CLOSED, Phase.ESTABLISHED, Blame.TARGET, detail)
