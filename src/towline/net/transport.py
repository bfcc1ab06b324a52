"""HTTP over a route: an httpx transport whose connections are dialled as traffic's are, so that a probe walks its path.

    transport = RouteTransport(dialer, most=...)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client, transport.within(deadline):
        await client.get("https://registry-1.docker.io/v2/")
    transport.visits[Target("registry-1.docker.io", 443)]         what that took

httpcore keeps the connections and speaks HTTP; this dials (net/dialer.py) and encrypts (net/tls.py), and takes account
of both. What goes wrong is a DialError, as in a dial.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, override

import httpcore
import httpx

from towline.core.arrivals import Arrivals
from towline.errors import DialError
from towline.net.dialer import Dialed, Dialer
from towline.net.edge import Progress, brief, dialing
from towline.net.tls import Tls
from towline.net.trust import system_trust
from towline.types import Blame, OutcomeKind, Phase, Target

LINGER = 0.5  # seconds that a host gets to end its side after ours, as in net/alive.py
MAX_CONNECTIONS = 4  # of one transport: to the registry, to where its tokens and blobs are, and one to spare


@dataclass(slots=True)
class Visit:
    """What the connections to one host took; the times are of the last one."""

    peer: str = ""
    """The address that was reached."""
    dial: float | None = None
    """Seconds until it was."""
    tls: Tls | None = None
    _before: int = 0

    def begin(self, dialed: Dialed, tls: Tls, seconds: float) -> None:
        """A connection was dialled."""
        self._before = self.spent
        self.peer, self.dial, self.tls = dialed.peer, seconds, tls

    @property
    def spent(self) -> int:
        """Bytes, both ways."""
        return self._before + (self.tls.sent + self.tls.arrivals.received if self.tls else 0)


class RouteTransport(httpx.AsyncBaseTransport):
    """Sends requests over one route, by TLS alone. It holds nothing after `aclose`."""

    def __init__(self, dialer: Dialer, *, most: int) -> None:
        """`most`: bytes that it may cost, over all of its connections."""
        self.visits: dict[Target, Visit] = {}
        self.in_order = True
        """Connections end with FIN, and the host's end is waited for. Else what is on its way is not waited for."""
        self._dialer = dialer
        self._most = most
        self._deadline = 0.0
        self._progress = Progress()
        unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without one, httpcore would read roots of its own
        self._pool = httpcore.AsyncConnectionPool(
            unused, max_connections=MAX_CONNECTIONS, network_backend=_Backend(self)
        )

    @asynccontextmanager
    async def within(self, deadline: float) -> AsyncIterator[None]:
        """Everything that is asked inside this block ends by `deadline`, on the loop's clock. Raises DialError."""
        async with dialing(deadline, to="target") as self._progress:
            self._deadline, self._progress.phase = deadline, Phase.ESTABLISHED
            try:
                yield
            except (httpcore.ProtocolError, httpx.HTTPError, httpx.InvalidURL) as error:  # the latter two: a Location
                detail = f"no HTTP answer: {brief(str(error))}"
                raise DialError(OutcomeKind.CLOSED, Phase.ESTABLISHED, Blame.TARGET, detail) from error

    async def connect(self, target: Target) -> Connection:
        """A connection to a target, which answers for its name. Raises DialError and OSError."""
        clock = asyncio.get_running_loop().time
        visit = self.visits.setdefault(target, Visit())
        self._progress.phase = Phase.CONNECT
        trust = await system_trust("http/1.1")
        began = clock()
        dialed = await self._dialer.dial(target, deadline=self._deadline)
        tls = Tls(dialed, target.host, trust, most=self._most - self.spent)
        visit.begin(dialed, tls, clock() - began)
        self._progress.phase = Phase.TLS
        try:
            await tls.handshake()
        except BaseException:
            tls.close()
            raise
        self._progress.phase = Phase.ESTABLISHED
        return Connection(self, tls)

    def arrivals(self, target: Target) -> Arrivals:
        """What has come over the last connection to a target. Raises KeyError where there was none."""
        tls = self.visits[target].tls
        if tls is None:
            raise KeyError(target)
        return tls.arrivals

    @property
    def spent(self) -> int:
        """Bytes so far, both ways."""
        return sum(visit.spent for visit in self.visits.values())

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        response = await self._pool.handle_async_request(
            httpcore.Request(request.method, url, headers=request.headers.raw, content=request.stream)
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    @override
    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of httpcore's response, for httpx."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    @override
    async def aclose(self) -> None:
        await self._response.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Where the pool gets its connections from. Its time limits are not used: `within` sets one for all of it."""

    def __init__(self, transport: RouteTransport) -> None:
        self._transport = transport

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        # As its URL spells it, which may be with a final dot; whoever admitted it, and reads the visits, spells it so.
        return await self._transport.connect(Target.parse(Target(host, port).authority))


class Connection(httpcore.AsyncNetworkStream):
    """One connection, encrypted from the beginning."""

    def __init__(self, transport: RouteTransport, tls: Tls) -> None:
        self._transport = transport
        self._tls = tls

    @override
    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return self  # what httpcore asks for next; it is so already

    @property
    def version(self) -> str:
        """Of TLS."""
        return self._tls.version

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._tls.read(max_bytes)

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._tls.write(buffer)

    @override
    async def aclose(self) -> None:
        if self._transport.in_order:
            await self._tls.leave(linger=LINGER)
        else:
            self._tls.close()

    @override
    def get_extra_info(self, info: str) -> Any:
        """Whether the socket is readable is all that httpcore needs: an idle connection that is has ended."""
        return self._tls.has_news if info == "is_readable" else None
