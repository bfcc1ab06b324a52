"""Names to addresses, the way this machine resolves them.

    SystemResolver.resolve(host, port) -> endpoints, IPv6 and IPv4 in turn, as RFC 8305 section 4 orders them

getaddrinfo(3) may block for tens of seconds and cannot be cancelled. So each lookup runs in a thread of its own: at
most MAX_LOOKUPS at once, callers wait only until their deadline, and who is cancelled leaves at once while the thread
runs out. asyncio's default executor was not used, since a dead name server would fill it and stop everything else that
runs there; a ThreadPoolExecutor neither, since the interpreter waits for its threads at exit, and a stop of Towline
would wait for the dead name server too.

Nothing is cached: getaddrinfo does not tell how long an answer is valid, the system's own resolver caches, and an
answer kept over a change of network would be the wrong one. Lookups of one name at the same time are made one.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import NamedTuple, Protocol

from towline import types
from towline.errors import DialError
from towline.net.edge import dialing
from towline.types import Address, Blame, IPAddress, OutcomeKind, Phase, Target

MAX_LOOKUPS = 16
"""Threads in getaddrinfo at once. A registry is two or three names, so this many are stuck only when all are."""


class Endpoint(NamedTuple):
    """One address to connect to. A link-local IPv6 address carries its zone."""

    ip: IPAddress
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """The address family that a socket to it needs."""
        return socket.AF_INET if self.ip.version == 4 else socket.AF_INET6

    @property
    def sockaddr(self) -> Address:
        """What connect(2) takes in Python, for both families."""
        return str(self.ip), self.port

    def __str__(self) -> str:
        return Target(str(self.ip), self.port).authority


class Resolver(Protocol):
    """Finds the addresses of a host."""

    async def resolve(self, host: str, port: int, *, deadline: float) -> list[Endpoint]:
        """Endpoints of `host`, at least one, in the order to try them; a literal address is its own answer.

        Raises DialError with phase RESOLVE by `deadline` (seconds on the running loop's clock).
        """
        ...


type _Name = tuple[str, int]
type _Answer = list[Endpoint] | OSError


class SystemResolver:
    """Asks getaddrinfo(3): /etc/hosts, then whatever name service the system has. Serves one event loop."""

    def __init__(self, *, max_lookups: int = MAX_LOOKUPS) -> None:
        self._max_lookups = max_lookups
        self._running = 0
        self._queued: deque[_Name] = deque()
        self._answers: dict[_Name, asyncio.Future[_Answer]] = {}
        """One for every name that runs or is queued. Failures are results too: a future that nobody waits for any more
        would log an exception."""

    async def resolve(self, host: str, port: int, *, deadline: float) -> list[Endpoint]:
        """Endpoints of `host`; see Resolver."""
        if (endpoint := literal(host, port)) is not None:
            return [endpoint]
        async with dialing(deadline, to="target"):
            answer = await asyncio.shield(self._ask((host, port)))
            if isinstance(answer, OSError):
                raise answer
        return answer

    def _ask(self, name: _Name) -> asyncio.Future[_Answer]:
        """The answer to come for `name`, shared by all who ask meanwhile."""
        if (answer := self._answers.get(name)) is None:
            answer = self._answers[name] = asyncio.get_running_loop().create_future()
            self._queued.append(name)
            self._start_queued()
        return answer

    def _start_queued(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queued and self._running < self._max_lookups:
            name = self._queued.popleft()
            self._running += 1
            thread = threading.Thread(target=self._look_up, args=(name, loop), name=f"look up {name[0]}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the limit of threads is reached
                loop.call_soon(self._answered, name, OSError(errno.EAGAIN, str(error)))

    def _look_up(self, name: _Name, loop: asyncio.AbstractEventLoop) -> None:
        """The body of a lookup's thread."""
        answer = _getaddrinfo(*name)
        with suppress(RuntimeError):  # the loop has closed meanwhile: nobody waits
            loop.call_soon_threadsafe(self._answered, name, answer)

    def _answered(self, name: _Name, answer: _Answer) -> None:
        self._running -= 1
        self._answers.pop(name).set_result(answer)
        self._start_queued()


type Choose = Callable[[str, int, Sequence[IPAddress]], Awaitable[Sequence[IPAddress]]]
"""Which of the addresses that a name has, to be dialled at a port, are the host's (towline/verifying.py)."""


class SoundResolver:
    """Another resolver's answers, less the addresses that are known to be poisoned."""

    def __init__(self, names: Resolver, choose: Choose) -> None:
        self._names = names
        self._choose = choose

    async def resolve(self, host: str, port: int, *, deadline: float) -> list[Endpoint]:
        """Endpoints of `host`; see Resolver. Raises DialError where another route is known to be better."""
        found = await self._names.resolve(host, port, deadline=deadline)
        sound = await self._choose(host, port, [endpoint.ip for endpoint in found])
        if len(sound) == len(found):
            return found
        if not sound:
            detail = f"poisoned answer ({found[0].ip} for {host})"
            raise DialError(OutcomeKind.POISONED, Phase.RESOLVE, Blame.ROUTE, detail)
        return [endpoint for endpoint in found if endpoint.ip in sound]


class FixedResolver:
    """Every name is at one address: for a check of that address."""

    def __init__(self, address: IPAddress) -> None:
        self._address = address

    async def resolve(self, host: str, port: int, *, deadline: float) -> list[Endpoint]:
        """The endpoint at that address; see Resolver."""
        return [Endpoint(self._address, port)]


def _getaddrinfo(host: str, port: int) -> _Answer:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError:  # raised before anything is asked: a label is empty or longer than 63 characters
        return socket.gaierror(socket.EAI_NONAME, "not a name")
    except OSError as error:
        return error
    endpoints = (Endpoint(ipaddress.ip_address(sockaddr[0]), port) for *_, sockaddr in found)
    return interleave(dict.fromkeys(endpoints))  # without repeats: /etc/hosts may name one address twice


def literal(host: str, port: int) -> Endpoint | None:
    """The endpoint that `host` spells out where it is an IP address, else None."""
    ip = types.literal(host)
    return None if ip is None else Endpoint(ip, port)


def interleave(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """`endpoints` with the address families in turn, each in its order, the first one's family first.

    RFC 8305 section 4 with a First Address Family Count of 1: one dead family costs one attempt delay.
    """
    families: dict[int, list[Endpoint]] = {}
    for endpoint in endpoints:
        families.setdefault(endpoint.family, []).append(endpoint)
    return [endpoint for turn in zip_longest(*families.values()) for endpoint in turn if endpoint is not None]
