"""The hop to a proxy: what every dialer that goes through one has in common.

    connect_to_proxy(...)     the operator's own proxy, by the same address race as a direct target
    converse(sock, exchange)  plays a handshake that is written without I/O: connect.py's in HTTP, socks5.py's in SOCKS

An Exchange is a generator. It yields bytes to send (b"" when it only wants more), is sent the bytes that came back, in
whatever pieces, and returns those past its end: the target's first. It raises DialError for an answer that is a no.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextvars import ContextVar

from towline.errors import DialError
from towline.net.addresses import connect_first
from towline.net.edge import Progress, closed, of_proxy
from towline.net.resolve import Endpoint, Resolver
from towline.net.wire import receive, send_all
from towline.types import Address, Phase, RouteSpec

VIA: ContextVar[tuple[str, ...]] = ContextVar("VIA", default=())
"""The names for the Via field of the request that is served: context, so that no way out but a proxy's need know it."""

type Exchange = Generator[bytes, bytes, bytes]


def proxy_of(spec: RouteSpec) -> Address:
    """The proxy of a route that has one. Raises ValueError for another: the service chose the wrong dialer."""
    if spec.proxy is None:
        raise ValueError(f"route {spec.name} has no proxy")
    return spec.proxy


async def connect_to_proxy(
    spec: RouteSpec, resolver: Resolver, progress: Progress, *, deadline: float
) -> tuple[socket.socket, Endpoint]:
    """Resolve and connect to the proxy of `spec`; the caller owns the socket. No guard: the operator named it.

    Raises DialError, which says that it is about the proxy and never blames the target.
    """
    try:
        progress.phase = Phase.RESOLVE
        endpoints = await resolver.resolve(*proxy_of(spec), deadline=deadline)
        progress.phase = Phase.CONNECT
        return await connect_first(endpoints, spec)
    except DialError as error:
        raise of_proxy(error) from error


async def converse(sock: socket.socket, exchange: Exchange) -> bytes:
    """Play `exchange` over `sock` and return the early bytes. Raises DialError, and OSError from the socket."""
    request = next(exchange)
    while True:
        await send_all(sock, request)
        if not (reply := await receive(sock)):
            raise of_proxy(closed(Phase.PROXY))
        try:
            request = exchange.send(reply)
        except StopIteration as end:
            early: bytes = end.value
            return early
