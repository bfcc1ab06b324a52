"""A DNS server on loopback, over UDP and TCP, that answers from a table, and as wrongly as a test wants.

async with Server({"registry.test": Zone(A=["192.0.2.1"])}) as server: ...
server.asked            # what it was asked for: (name, record type, "udp" or "tcp"), in order
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL = 60


@dataclass(frozen=True, slots=True)
class Zone:
    """What the server says about one name."""

    A: Sequence[str] = ()
    AAAA: Sequence[str] = ()
    ttl: int = TTL
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    alias: str | None = None
    """The canonical name that has the addresses."""
    silent: Iterable[str] = ()
    """Record types that are never answered."""
    truncated: bool = False
    """Over UDP, say that the answer does not fit."""
    held: Mapping[str, asyncio.Event] = field(default_factory=dict)
    """Answer questions for these record types only once their event is set."""
    lost: int = 0
    """Questions over UDP that are not answered before one is."""


class Server:
    """Answers until the block is left. Names outside the table do not exist."""

    def __init__(
        self, zones: Mapping[str, Zone], *, spoil: Callable[[bytes], list[bytes]] | None = None, port: int = 0
    ) -> None:
        """`spoil` gives the datagrams that are sent in the place of an answer."""
        self.zones = dict(zones)
        self.port = port
        self.asked: list[tuple[str, str, str]] = []
        self._spoil = spoil or (lambda answer: [answer])
        self._was_asked = asyncio.Event()
        self._lost: Counter[str] = Counter()
        self._answering: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._tcp = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setblocking(False)
        self._udp.bind(("127.0.0.1", self.port))
        asyncio.get_running_loop().add_reader(self._udp, self._datagram)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()
        self._tcp.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self._tcp.wait_closed()

    async def until_asked(self, times: int) -> None:
        """Return once that many questions have come."""
        while len(self.asked) < times:
            self._was_asked.clear()
            await self._was_asked.wait()

    def _datagram(self) -> None:
        question, client = self._udp.recvfrom(4096)
        task = asyncio.get_running_loop().create_task(self._answer_datagram(question, client))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer_datagram(self, question: bytes, client: tuple[str, int]) -> None:
        if (answer := await self.answer(question, "udp")) is not None:
            for datagram in self._spoil(answer):
                self._udp.sendto(datagram, client)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            question = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            if (answer := await self.answer(question, "tcp")) is not None:
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()

    async def answer(self, wire: bytes, over: str) -> bytes | None:
        """The answer to a question; None where there is to be none."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:  # a name that is none: FORMERR, and nothing else
            return wire[:2] + b"\x81\x81" + bytes(8)
        name, record = query.question[0].name, dns.rdatatype.to_text(query.question[0].rdtype)
        host = name.to_text(omit_final_dot=True)
        self.asked.append((host, record, over))
        self._was_asked.set()
        zone = self.zones.get(host, Zone(rcode=dns.rcode.NXDOMAIN))
        if record in zone.held:
            await zone.held[record].wait()
        if record in zone.silent:
            return None
        if over == "udp" and self._lost[host] < zone.lost:
            self._lost[host] += 1
            return None
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(zone.rcode)
        if zone.truncated and over == "udp":
            response.flags |= dns.flags.TC
            return response.to_wire()
        owner = name
        if zone.alias is not None:
            response.answer.append(dns.rrset.from_text(name, zone.ttl, "IN", "CNAME", f"{zone.alias}."))
            owner = dns.name.from_text(zone.alias)
        if addresses := {"A": zone.A, "AAAA": zone.AAAA}.get(record, ()):
            response.answer.append(dns.rrset.from_text(owner, zone.ttl, "IN", record, *addresses))
        return response.to_wire()
