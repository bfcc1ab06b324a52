"""A DNS server over HTTPS (RFC 8484), asked over a route: POST application/dns-message.

Its certificate is checked, so that nobody on the way can answer in its place. Its own name, where its URL has one, is
resolved by the system: an address in the URL depends on nobody.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import dns.message
import httpcore

from towline.errors import DialError
from towline.net.dialer import Dialer
from towline.net.dns import response_to
from towline.net.edge import brief
from towline.net.over_route import KEPT, OverRoute
from towline.net.trust import system_trust
from towline.types import Blame, NameServer, OutcomeKind, Phase

MEDIA_TYPE = "application/dns-message"
MAX_CONNECTIONS = 4  # at once, further questions wait; with HTTP/2 all of them share one
MAX_MESSAGE = 65535  # bytes of a DNS message (RFC 8484 section 6)


class HttpsServer:
    """One DNS server, asked over connections that `dialer` makes."""

    def __init__(self, server: NameServer, dialer: Dialer) -> None:
        self._url = str(server)
        self._network = OverRoute(dialer)
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def ask(self, query: dns.message.QueryMessage) -> dns.message.Message:
        """The response to `query`; see NameServer."""
        trust = await system_trust("http/1.1", "h2")
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                trust,
                max_connections=MAX_CONNECTIONS,
                keepalive_expiry=KEPT,
                http2=True,
                network_backend=self._network,
            )
        pool = self._pool
        try:
            try:
                message = await self._exchange(pool, query.to_wire())
            except (OSError, httpcore.ProtocolError):  # of a connection that was kept and has ended meanwhile
                message = await self._exchange(pool, query.to_wire())
        except httpcore.ProtocolError as error:
            raise _useless(f"no HTTP: {brief(str(error))}") from error
        except asyncio.CancelledError:  # no answer in time: over HTTP/2 the pool would go on to ask who is silent
            if self._pool is pool:
                self.renew()
            raise
        return response_to(query, message)

    def renew(self) -> None:
        """Ask over new connections from now on; the old ones close when no question is under way over them."""
        self._pool = None
        self._network.close()

    async def _exchange(self, pool: httpcore.AsyncConnectionPool, question: bytes) -> bytes:
        """The message that the server responds with."""
        headers = [("accept", MEDIA_TYPE), ("content-type", MEDIA_TYPE), ("content-length", str(len(question)))]
        message = b""
        async with pool.stream("POST", self._url, headers=headers, content=question) as response:
            if response.status != HTTPStatus.OK:
                raise _useless(f"status {response.status}")
            async for part in response.aiter_stream():
                message += part
                if len(message) > MAX_MESSAGE:
                    raise _useless(f"more than {MAX_MESSAGE} bytes")
        return message

    def close(self) -> None:
        """Close the connections."""
        self._network.close()


def _useless(what: str) -> DialError:
    return DialError(OutcomeKind.UNRESOLVED, Phase.RESOLVE, Blame.ROUTE, f"answers with {what}")
