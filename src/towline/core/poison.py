"""Poisoned addresses: which address of a host is not the host, over which route, and when that is reason to avoid it.

A forged answer of a name server leads to somebody else. What tells is a mark that an address gets:

    WRONG_ANSWER         it answered a ClientHello as no TLS server does, or with an alert      seen by a first flight
    WRONG_CERTIFICATE    it has no certificate for the host that is trusted here                seen by a check of ours

Neither alone is reason enough: the host itself may be broken, or have a certificate of an authority that only its
clients know. What weighs more is that the host was reached as itself over another route, lately:

    ANSWERED             a first flight was answered there: outweighs WRONG_ANSWER
    VERIFIED             its certificate was checked there: outweighs both

So an address that is marked is not dialled while its answer has others. Where all are marked, they are avoided while
another route is known to be better, and dialled all the same where none is: never worse than direct.

A mark is kept by route: what answers in a host's place may sit on the way rather than at the address. It goes when a
check of our own finds the host there, and not by time: a client's bytes are not what finds out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from towline.types import IPAddress

LATELY = 600.0
"""Seconds for which it counts that another route has reached the host; every first flight that it answers renews it."""
RECHECK_AFTER = 60.0  # seconds from the first check of an address to the second, then twice as long each time
RECHECK_AT_MOST = 3600.0  # seconds between two checks: some 3 KiB each
MAX_HOSTS = 256  # remembered; a pull is three, and unlisted hosts come and go
MAX_ADDRESSES = 64  # of one host over all routes: blob hosts change theirs by the minute


class Mark(IntEnum):
    """What is wrong with an address: as much as the `Proof` that outweighs it."""

    NONE = 0
    WRONG_ANSWER = 1
    WRONG_CERTIFICATE = 2


class Proof(IntEnum):
    """How it is known that a route leads to the host itself."""

    NONE = 0
    ANSWERED = 1
    VERIFIED = 2


@dataclass(slots=True)
class _Address:
    """One address of a host over one route."""

    mark: Mark = Mark.NONE
    verified: bool = False
    checks: int = 0
    checked_at: float = 0.0


@dataclass(slots=True)
class _Host:
    addresses: dict[tuple[str, IPAddress], _Address] = field(default_factory=dict)
    proofs: dict[str, tuple[Proof, float]] = field(default_factory=dict)
    """Route -> how it was known to lead to the host, and when last."""


class Poison:
    """What is known of the addresses of hosts, on one network."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def answered(self, route: str, host: str, *, now: float) -> None:
        """A first flight was answered over the route as a TLS server does."""
        proofs = self._host(host).proofs
        known, _ = proofs.get(route, (Proof.NONE, now))
        proofs[route] = max(known, Proof.ANSWERED), now

    def verified(self, route: str, host: str, address: IPAddress | None, *, now: float) -> None:
        """The host's certificate was checked over the route; `address` is where, if that is known here."""
        self._host(host).proofs[route] = Proof.VERIFIED, now
        if address is not None:
            known = self._address(route, host, address)
            known.mark, known.verified = Mark.NONE, True

    def marked(self, route: str, host: str, address: IPAddress, mark: Mark) -> bool:
        """Something is wrong with an address; of two marks the graver stays. True where that is news."""
        known = self._address(route, host, address)
        is_news = mark > known.mark
        known.mark, known.verified = max(mark, known.mark), False
        return is_news

    def sound(self, route: str, host: str, addresses: Sequence[IPAddress], *, now: float) -> list[IPAddress]:
        """Those of a name's `addresses` that are to be dialled over the route, none where another route is better."""
        known = self._hosts.get(host)
        if known is None:
            return list(addresses)
        met = [(address, known.addresses.get((route, address), _Address())) for address in addresses]
        if unmarked := [address for address, what in met if not what.mark]:
            return unmarked
        best = self.proof(host, but=route, now=now)
        return [address for address, what in met if what.mark > best]

    def proof(self, host: str, *, but: str, now: float) -> Proof:
        """The best that is known of routes to the host, one left out."""
        known = self._hosts.get(host, _Host())
        others = [proof for route, (proof, at) in known.proofs.items() if route != but and now - at < LATELY]
        return max(others, default=Proof.NONE)

    def is_met(self, route: str, host: str) -> bool:
        """Whether an address of the host was met over the route."""
        known = self._hosts.get(host, _Host())
        return any(over == route for over, _ in known.addresses)

    def is_due(self, route: str, host: str, address: IPAddress, *, now: float) -> bool:
        """Whether an address that was met is to be checked: when it is met first, and while it is not found well."""
        known = self._hosts.get(host, _Host()).addresses.get((route, address), _Address())
        return not known.verified and (not known.checks or now - known.checked_at >= _pause(known.checks))

    def checking(self, route: str, host: str, address: IPAddress, *, now: float) -> None:
        """A check of an address begins."""
        known = self._address(route, host, address)
        known.checks += 1
        known.checked_at = now

    def forget_routes(self, routes: Collection[str]) -> None:
        """Forget what is known over these routes: their names mean other ways out now, or none."""
        for known in self._hosts.values():
            known.proofs = {route: proof for route, proof in known.proofs.items() if route not in routes}
            known.addresses = {key: address for key, address in known.addresses.items() if key[0] not in routes}

    def forget(self) -> None:
        """Forget all: the network has changed."""
        self._hosts.clear()

    def _host(self, host: str) -> _Host:
        known = self._hosts[host] = self._hosts.pop(host, _Host())  # the latest stand last
        if len(self._hosts) > MAX_HOSTS:
            del self._hosts[next(iter(self._hosts))]
        return known

    def _address(self, route: str, host: str, address: IPAddress) -> _Address:
        addresses = self._host(host).addresses
        known = addresses.setdefault((route, address), _Address())
        if len(addresses) > MAX_ADDRESSES:
            del addresses[next(iter(addresses))]
        return known


def _pause(checks: int) -> float:
    """Seconds after the last of so many checks before the next."""
    doublings = min(checks - 1, 10)  # far beyond the longest pause
    return min(RECHECK_AFTER * (1 << doublings), RECHECK_AT_MOST)
