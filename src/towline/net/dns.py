"""Names to addresses by a DNS server of the route's own, rather than the system's.

    DnsResolver.resolve(host, port) -> endpoints, as SystemResolver gives them
    NameServer.ask(query)              one question and its answer: dns_udp.py over UDP, doh.py over HTTPS

Where a network answers for registries with forged addresses, it does so to the system's resolver. A server that is
asked over the route itself answers with what is true there.

Both families are asked for at once; when one has answered with addresses, the other gets RESOLUTION_DELAY more (RFC
8305 section 3). What comes later still serves the next lookup: questions run in tasks of their own, which all who ask
the same meanwhile share, and answers are kept while they hold (core/names.py). /etc/hosts has no say here.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection
from typing import Protocol

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from towline.core.names import Answer, Answers
from towline.errors import DialError
from towline.net.edge import brief, dial_error
from towline.net.resolve import Endpoint, interleave, literal
from towline.types import Blame, IPAddress, OutcomeKind, Phase

RECORDS = {6: dns.rdatatype.AAAA, 4: dns.rdatatype.A}
"""What is asked for, by IP version; of two answers that come together, the first one's family is tried first."""
RESOLUTION_DELAY = 0.05  # seconds that the second family gets after the first (RFC 8305 section 3)
LOOKUP_TIME = 5.0  # seconds that a question is asked for, as glibc asks one server (`timeout` in resolv.conf(5))
MARGIN = 0.1
"""Seconds before its deadline in which a lookup gives up, so that its reader learns whose answer was missing."""
MAX_QUESTIONS = 32  # under way at once, further ones wait: a registry is two or three names
MAX_ADDRESSES = 16  # of one family that an answer may have; blob hosts are seen with eight
MAX_DATAGRAM = 1232  # bytes of an answer that arrive unfragmented anywhere (RFC 9715 section 3)

type _Found = tuple[IPAddress, ...] | DialError


class NameServer(Protocol):
    """A DNS server that resolves recursively."""

    async def ask(self, query: dns.message.QueryMessage) -> dns.message.Message:
        """The response to `query`, which `response_to` accepted. Who asks sets the time limit.

        Raises DialError, OSError, and DNSException where what came is no response.
        """
        ...

    def renew(self) -> None:
        """Ask over new connections from now on."""
        ...

    def close(self) -> None:
        """Close the connections; the questions under way were cancelled just now."""
        ...


class DnsResolver:
    """Asks one name server. Serves one event loop; `close()` ends what is under way."""

    def __init__(self, server: NameServer, name: str) -> None:
        """`name` is what errors call the server: its URL."""
        self._server = server
        self._name = name
        self._answers = Answers()
        self._asking: dict[tuple[str, int], asyncio.Task[_Found]] = {}
        """Questions under way that others with the same one wait for."""
        self._tasks: set[asyncio.Task[_Found]] = set()
        """All that are under way, those of the last network too."""
        self._turns = asyncio.Semaphore(MAX_QUESTIONS)

    async def resolve(self, host: str, port: int, *, deadline: float) -> list[Endpoint]:
        """Endpoints of `host`; see Resolver."""
        if (endpoint := literal(host, port)) is not None:
            return [endpoint]
        try:
            async with asyncio.timeout_at(deadline - MARGIN):
                found = await self._both_families(host)
        except TimeoutError:
            raise self._silence() from None
        if addresses := [address for family in found if isinstance(family, tuple) for address in family]:
            return interleave(Endpoint(address, port) for address in addresses)
        for family in found:
            if isinstance(family, DialError):
                raise DialError(family.kind, family.phase, family.blame, family.detail)  # one for each who asked
        raise DialError(OutcomeKind.UNRESOLVED, Phase.RESOLVE, Blame.TARGET, f"no such host, says {self._name}")

    async def _both_families(self, host: str) -> list[_Found]:
        """What is known of each, in the order of its coming; of one alone where the other is slow.

        Addresses that are known already wait for nothing: the other family had its chance.
        """
        known = {version: self._answers.known(host, version, now=_now()) for version in RECORDS}
        found: list[_Found] = [addresses for addresses in known.values() if addresses is not None]
        asked = [self._question(host, version) for version, addresses in known.items() if addresses is None]
        if any(found):
            return found
        waiting: Collection[asyncio.Task[_Found]] = asked
        while waiting:
            enough = any(isinstance(family, tuple) and family for family in found)
            timeout = RESOLUTION_DELAY if enough else None
            done, waiting = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            found += [task.result() for task in asked if task in done]
        return found

    def _question(self, host: str, version: int) -> asyncio.Task[_Found]:
        """The question that is under way already, or from now on."""
        task = self._asking.get((host, version))
        if task is None or task.done():
            task = asyncio.get_running_loop().create_task(self._ask(host, version), name=f"look up {host}")
            self._asking[host, version] = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._answered(done, host, version))
        return task

    def _answered(self, task: asyncio.Task[_Found], host: str, version: int) -> None:
        self._tasks.discard(task)
        if self._asking.get((host, version)) is task:  # and not one that was begun since
            del self._asking[host, version]

    async def _ask(self, host: str, version: int) -> _Found:
        """Ask and remember. A failure is a result too: a task that nobody waits for any more would log an exception."""
        query = dns.message.make_query(dns.name.from_text(host), RECORDS[version], use_edns=0, payload=MAX_DATAGRAM)
        answers = self._answers  # those of this network, even if it changes meanwhile
        try:
            async with asyncio.timeout(LOOKUP_TIME), self._turns:
                response = await self._server.ask(query)
            answer = _read(response)
        except TimeoutError:
            return self._silence()
        except DialError as error:
            return self._failure(error)
        except OSError as error:
            return self._failure(dial_error(error, Phase.RESOLVE))
        except dns.exception.DNSException as error:
            return self._unresolved(brief(str(error)))
        if answer is None:
            return self._unresolved(dns.rcode.to_text(response.rcode()))
        answers.learn(host, version, answer, now=_now())
        return answer.addresses

    def _silence(self) -> DialError:
        return DialError(OutcomeKind.TIMEOUT, Phase.RESOLVE, Blame.ROUTE, f"no answer from {self._name}")

    def _failure(self, error: DialError) -> DialError:
        """A failure on the way to the server: not the target's, which was not asked for anything."""
        blame = Blame.LOCAL if error.blame is Blame.LOCAL else Blame.ROUTE
        return DialError(error.kind, Phase.RESOLVE, blame, f"{self._name}: {error.detail}")

    def _unresolved(self, why: str) -> DialError:
        return DialError(OutcomeKind.UNRESOLVED, Phase.RESOLVE, Blame.ROUTE, f"{why} from {self._name}")

    def forget(self) -> None:
        """The network has changed: answers may be others there, and connections that were made on the last one dead."""
        self._answers = Answers()
        self._asking = {}  # who waits for one of those goes on waiting; nobody else does
        self._server.renew()

    def close(self) -> None:
        """End the questions under way, and the connections to the server."""
        for task in self._tasks:
            task.cancel()
        self._server.close()


def response_to(query: dns.message.QueryMessage, wire: bytes) -> dns.message.Message:
    """The message in `wire`, if it answers `query`: by its number and its question. Raises DNSException."""
    response = dns.message.from_wire(wire)
    if not query.is_response(response):
        raise dns.exception.FormError("an answer to something else")  # type: ignore[no-untyped-call]
    return response


def _read(response: dns.message.Message) -> Answer | None:
    """The addresses at the end of the response's chain of names; None for one that says nothing about the name."""
    if response.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return None
    chain = response.resolve_chaining()  # type: ignore[attr-defined] # a response to a query is a QueryMessage
    records = list(chain.answer or ())[:MAX_ADDRESSES]
    return Answer(tuple(ipaddress.ip_address(record.address) for record in records), float(chain.minimum_ttl))


def _now() -> float:
    return asyncio.get_running_loop().time()
