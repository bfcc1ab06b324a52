"""Which route is probed for which host, and when. The runner (towline/measuring.py) asks, probes, and tells.

    asked(target, ...)              a client asks for a host: its registry is in use
    plan(standings) -> Plan         the rounds that are due, and when to ask again (None: nothing is in use)
    ended(round, heard, spent)      a round is over: what was heard, after so many bytes
    changed()                       the network is another one: nothing that was found holds

A probe does as clients do, and costs by what it tells:

    hear    TLS, and `GET /v2/` where the host is a registry's API: some KiB
    read    the same, then a part of a public blob, over the registry's redirect: some hundred KiB. A route may let
            every small answer through and no layer (peers.md 4: "HEAD fine, bulk blocked"): hearing is not enough

A read that could not be made, for its route was silent, is made up for as soon as that is heard again.
Live traffic is better evidence than a probe: what it told of late is not asked again. The routes of a host are heard
together, so that a fault can be told to be the host's or a route's. Nothing is probed for a host that one route alone
may serve, since there nothing is to be chosen, and nothing for a registry that nobody asked for of late.

How often is for _Pace to say; chance shortens a period and never prolongs it. Bytes are bounded by the hour. As they
run out, reads become rarer, and the last quarter is left for hearing alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from towline.core.allowance import Allowance
from towline.types import UNLISTED, Classification, Target

HEAR_COST = 32 * 1024
"""Bytes that hearing costs at most; a handshake with its chain of certificates takes some 6 KiB of them."""
READ_SIZE = 256 * 1024
"""Bytes that are read of a blob: the first 200 KiB come in TCP's slow start (ten segments, RFC 6928, doubled with each
of four round trips), and what comes last in it comes at the path's own rate."""
READ_COST = HEAR_COST + READ_SIZE + 128 * 1024
"""Bytes that hearing and reading cost at most: two more handshakes, a token, manifests, and what is still on its way
when the reading ends."""
FOR_HEARING = 1 / 4  # share of an hour's bytes that reads leave alone

IN_USE = 900.0  # seconds after which a registry that nobody asked for is left alone
PULLING = 60.0  # seconds after a request or a byte during which the next pull may be at hand
SHORT_OF_BYTES = 60.0  # seconds until it is tried again where the hour's bytes are spent
MAX_HOSTS = 4  # of a registry, those asked for last: there may be many blob hosts
MAX_ROUTES = 8  # that are probed at once, over all hosts; a round of more goes alone
JITTER = 1 / 4  # share of a period that chance may take off


@dataclass(frozen=True, slots=True)
class _Pace:
    """Seconds after which evidence is too old."""

    hear: float
    hear_failing: float
    """Over a route that fails: by then its recovery is found."""
    read: float
    read_first: float
    """Over the route that is ranked first: by then its decay is found, while no traffic tells."""


# While pulls go on, a tenfold decay of the first route is to be found within 10 s, and what is better within 30 s; a
# route that is back, within 30 s while the registry is in use. The rest of these times is for the probe itself.
_WHILE_PULLING = _Pace(hear=10.0, hear_failing=10.0, read=20.0, read_first=7.0)
_WHILE_IN_USE = _Pace(hear=60.0, hear_failing=20.0, read=300.0, read_first=300.0)


class Random(Protocol):
    """What is asked of random.Random."""

    def random(self) -> float:
        """A number from 0 up to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How a route stands for a host. Times are those of the latest evidence, by traffic or probe; None without any."""

    route: str
    failing: bool = False
    """Its circuit is not closed."""
    heard_at: float | None = None
    """The registry answered over it, in the host's role, or failed to."""
    read_at: float | None = None
    """It carried much of a blob of the registry."""


type Standings = Callable[[Target, Classification], Sequence[Standing]]
"""The routes that may serve a host, the best first."""


@dataclass(frozen=True, slots=True)
class Round:
    """The routes of one host that are probed together, those that fail or were not heard of for longest first."""

    target: Target
    classification: Classification
    routes: tuple[str, ...]
    reads: frozenset[str]
    """Those of the routes that are read over as well."""

    @property
    def most(self) -> int:
        """Bytes that it may cost."""
        return len(self.routes) * HEAR_COST + len(self.reads) * (READ_COST - HEAR_COST)


@dataclass(frozen=True, slots=True)
class Plan:
    """What begins now, and when to ask again at the latest."""

    rounds: tuple[Round, ...]
    next_at: float | None


@dataclass(slots=True)
class _Host:
    """A host that clients asked for, and when its routes were last probed."""

    target: Target
    classification: Classification
    readable: bool
    share: float
    """Of every period, that its next round waits."""
    heard: dict[str, float] = field(default_factory=dict)
    read: dict[str, float] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    """Routes over which a read was due and not made, for they were silent."""
    under_way: Round | None = None


@dataclass(frozen=True, slots=True)
class _Due:
    """When each route of a host is to be heard and read over."""

    host: _Host
    hear: dict[str, float]
    read: dict[str, float]
    failing: frozenset[str]

    @property
    def at(self) -> float:
        """When the first of it is."""
        return min((*self.hear.values(), *self.read.values()))


class Probes:
    """Plans the probes of one Towline, and keeps count of what they cost."""

    def __init__(self, allowance: Allowance, rng: Random) -> None:
        """`allowance` is what probes may cost; one of 0 bytes means none."""
        self.allowance = allowance
        self._rng = rng
        self._used_at: dict[str, float] = {}  # by registry
        self._hosts: dict[Target, _Host] = {}  # in the order in which they were last asked for
        self._routes_under_way = 0
        self._changed_at = -inf

    @property
    def hosts(self) -> list[Target]:
        """The hosts that were asked for of late, the last one last."""
        return list(self._hosts)

    def asked(self, target: Target, classification: Classification, *, readable: bool, now: float) -> bool:
        """A client asks for a host, or its bytes move; True where that is news, so that a plan is worth making.

        `readable`: the host is an API, and a public blob of its registry is known.
        """
        registry = classification.registry
        if registry == UNLISTED:
            return False
        before = self._used_at.get(registry, -inf)
        self._used_at[registry] = max(before, now)
        host = self._hosts.pop(target, None)
        self._hosts[target] = host or _Host(target, classification, readable, self._share())
        known = [target for target, host in self._hosts.items() if host.classification.registry == registry]
        for target in known[:-MAX_HOSTS]:
            del self._hosts[target]
        return host is None or now - before > PULLING

    def plan(self, standings: Standings, *, now: float) -> Plan:
        """The rounds that are due: they are under way from now on, until each has `ended`."""
        self._forget_unused(now)
        idle = [host for host in self._hosts.values() if host.under_way is None]
        waiting = [due for host in idle if (due := self._due(host, standings, now)) is not None]
        rounds: list[Round] = []
        later: list[float] = []
        for due in sorted(waiting, key=lambda due: (not due.failing, due.at)):
            if due.at > now:
                later.append(due.at)
            elif not self._has_room(due):
                pass  # until a round has ended
            elif self.allowance.left(now=now) < len(due.hear) * HEAR_COST:
                later.append(now + SHORT_OF_BYTES)
            else:
                rounds.append(self._begin(due, now))
        return Plan(tuple(rounds), min(later, default=None))

    def ended(self, round_: Round, *, heard: Collection[str], spent: int, now: float) -> None:
        """A round is over, or was given up, after `spent` bytes. Another may have waited for it.

        `heard`: the routes over which the host answered. Over the others nothing was read.
        """
        self.allowance.spend(spent, of=round_.most, now=now)
        self._routes_under_way -= len(round_.routes)
        host = self._hosts.get(round_.target)
        if host is not None and host.under_way is round_:
            host.under_way = None
            self._make_up(host, round_, set(heard))
            host.share = self._share()

    @staticmethod
    def _make_up(host: _Host, round_: Round, heard: set[str]) -> None:
        """Reads that were not made, for their routes were silent, are due at once where those are heard again."""
        for route in (host.missed & heard) - round_.reads:
            host.read.pop(route, None)
        host.missed = (host.missed | round_.reads) - heard

    def changed(self, *, now: float) -> None:
        """The network is another one: what was found before says nothing, and what is in use is due at once."""
        self._changed_at = now
        for host in self._hosts.values():
            host.heard.clear()
            host.read.clear()
            host.missed.clear()

    def forget(self, routes: Collection[str]) -> None:
        """By these names other ways out are meant from now on."""
        for host in self._hosts.values():
            for route in routes:
                host.heard.pop(route, None)
                host.read.pop(route, None)
                host.missed.discard(route)

    def _share(self) -> float:
        return 1 - JITTER * self._rng.random()

    def _forget_unused(self, now: float) -> None:
        for registry in [name for name, used_at in self._used_at.items() if now - used_at > IN_USE]:
            del self._used_at[registry]
        for target in [t for t, host in self._hosts.items() if host.classification.registry not in self._used_at]:
            del self._hosts[target]

    def _due(self, host: _Host, standings: Standings, now: float) -> _Due | None:
        """When the routes of a host are due; None where there is no choice between routes, or nothing may be spent."""
        routes = standings(host.target, host.classification)
        if len(routes) < 2 or not self.allowance.limit:
            return None
        pulling = now - self._used_at[host.classification.registry] <= PULLING
        pace = _WHILE_PULLING if pulling else _WHILE_IN_USE
        hear: dict[str, float] = {}
        read: dict[str, float] = {}
        for place, known in enumerate(routes):
            route = known.route
            period = pace.hear_failing if known.failing else pace.hear
            hear[route] = self._latest(known.heard_at, host.heard.get(route)) + period * host.share
            if host.readable:
                period = (pace.read if place else pace.read_first) * self._scarcity(now)
                read[route] = self._latest(known.read_at, host.read.get(route)) + period * host.share
        return _Due(host, hear, read, frozenset(known.route for known in routes if known.failing))

    def _latest(self, evidence: float | None, probed: float | None) -> float:
        """When a route was last known: by evidence, unless that is of another network, or by being probed."""
        if evidence is None or evidence <= self._changed_at:
            evidence = -inf
        return evidence if probed is None else max(evidence, probed)

    def _scarcity(self, now: float) -> float:
        """How much rarer reads are, for the bytes that are not spent of the hour: 1 with all of them, 2 with half."""
        return self.allowance.limit / max(self.allowance.limit - self.allowance.spent(now=now), 1)

    def _has_room(self, due: _Due) -> bool:
        return not self._routes_under_way or self._routes_under_way + len(due.hear) <= MAX_ROUTES

    def _begin(self, due: _Due, now: float) -> Round:
        """The round that is due. Reads that there are not enough bytes for are passed over until the next time."""
        host = due.host
        routes = sorted(due.hear, key=lambda route: (route not in due.failing, due.hear[route]))
        spare = self.allowance.left(now=now) - len(routes) * HEAR_COST - FOR_HEARING * self.allowance.limit
        wanted = [route for route in routes if due.read.get(route, inf) <= now]
        reads = wanted[: max(0, int(spare // (READ_COST - HEAR_COST)))]
        host.heard.update(dict.fromkeys(routes, now))
        host.read.update(dict.fromkeys(wanted, now))
        host.under_way = Round(host.target, host.classification, tuple(routes), frozenset(reads))
        self.allowance.set_aside(host.under_way.most)
        self._routes_under_way += len(routes)
        return host.under_way
