"""A DNS server over UDP (RFC 1035 section 4.2), by a route's interface, source and mark.

    send -> wait 1 s -> send again -> 2 s ... -> the first datagram that answers the question
                                               -> truncated: the same question over TCP (RFC 7766)

Each question has a socket of its own, so that its port is one of tens of thousands and its number one of 65,536; it is
connected, so that the kernel drops what comes from another address. What then does not answer the question is passed
over: whoever forges answers must not be able to end it (RFC 5452 section 9).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import dns.exception
import dns.flags
import dns.message

from towline.net.addresses import connect_first
from towline.net.dns import response_to
from towline.net.resolve import Endpoint
from towline.net.sockets import open_socket
from towline.net.wire import receive, send_all
from towline.types import RouteSpec

RESEND_AFTER = 1.0  # seconds, and twice as long each time (RFC 8085 section 3.1.1, for a round trip not yet measured)
RECEIVE_SIZE = 4096  # bytes of a datagram that are read: more than is asked for, some servers send it all the same


class UdpServer:
    """One DNS server, asked over the route of `spec`."""

    def __init__(self, spec: RouteSpec, endpoint: Endpoint) -> None:
        self._spec = spec
        self._endpoint = endpoint

    async def ask(self, query: dns.message.QueryMessage) -> dns.message.Message:
        """The response to `query`; see NameServer."""
        response = await self._over_udp(query)
        return await self._over_tcp(query) if response.flags & dns.flags.TC else response

    def renew(self) -> None:
        """There are no connections to renew."""

    def close(self) -> None:
        """There are no connections: a question's socket goes with it."""

    async def _over_udp(self, query: dns.message.QueryMessage) -> dns.message.Message:
        question = query.to_wire()
        pause = RESEND_AFTER
        with contextlib.closing(open_socket(self._endpoint.family, self._spec, socket.SOCK_DGRAM)) as sock:
            sock.connect(self._endpoint.sockaddr)
            while True:
                sock.send(question)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        return await _response(query, sock)
                pause *= 2

    async def _over_tcp(self, query: dns.message.QueryMessage) -> dns.message.Message:
        sock, _ = await connect_first([self._endpoint], self._spec)
        with contextlib.closing(sock):
            await send_all(sock, query.to_wire(prepend_length=True))
            received = b""
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2]):
                if not (data := await receive(sock)):
                    raise ConnectionResetError  # in the middle of an answer
                received += data
        return response_to(query, received[2 : 2 + int.from_bytes(received[:2])])


async def _response(query: dns.message.QueryMessage, sock: socket.socket) -> dns.message.Message:
    """The first datagram that answers the question. Raises OSError where the server's machine has none at this port."""
    loop = asyncio.get_running_loop()
    while True:
        datagram = await loop.sock_recv(sock, RECEIVE_SIZE)
        with contextlib.suppress(dns.exception.DNSException):
            return response_to(query, datagram)
