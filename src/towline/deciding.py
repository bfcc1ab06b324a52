"""What one configuration decides about a target: which registry it is, whether it may be reached, over which routes.

    take(target)      classify, guard, order, choose             the life of a request begins with it
    rank(target)      the same, and nothing is noted             asked by probes
    image(target)     the public image that probes read from there
    admit(target, ip) may this resolved address be dialled?      asked by the dialers before each SYN
    explain(host, port)                                          the same decisions, to be read

One instance per configuration; nothing in it changes. What was learned, which routes are there and which the operator
drains it reads. A reload makes another one, while requests that are under way keep theirs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from http import HTTPStatus

import psutil
import structlog

from towline.catalogue import load_catalogue
from towline.config import Config
from towline.core.choice import Random
from towline.core.guard import Guard
from towline.core.learned import Learned
from towline.core.policy import TargetPolicy
from towline.core.presence import Presence, absent_last
from towline.core.rank import rank, without
from towline.core.show import evidence_of, registry_views
from towline.errors import Refused
from towline.types import Classification, IPAddress, Ranking, RouteSpec, Target
from towline.views import RouteRegistryView

log = structlog.get_logger("towline")

DRAINED = "drained by the operator"
FAKE_ADDRESSES = ipaddress.ip_network("198.18.0.0/15")  # RFC 2544 benchmarking; the default of fake-IP proxies


class Deciding:
    """The decisions of one configuration."""

    def __init__(
        self,
        config: Config,
        learned: Learned,
        presence: Presence,
        *,
        drained: Collection[str],
        clock: Callable[[], float],
        rng: Random,
    ) -> None:
        """`learned` is the ledger's; `clock` is the one that its times are on; `rng` says when to explore.

        `drained` routes get no new tunnels, also where there is no other: whoever drains one is about to take it away.
        """
        self._config = config
        self._learned = learned
        self._presence = presence
        self._specs = {spec.name: spec for spec in config.routes}
        self._drained = drained
        self._clock = clock
        self._rng = rng
        self._catalogue = load_catalogue().with_overrides(config.registries)
        self._policy = _with_fake_addresses(config.policy)
        self._guard = Guard(self._policy, own=frozenset())
        listeners = (*config.listen, config.admin) if config.admin else config.listen
        self._own_ports = frozenset(port for _, port in listeners)

    def take(self, target: Target) -> Ranking:
        """The routes for a tunnel that is about to be dialled: the choice is noted, and now and then another explored.

        Raises Refused where the target may not be reached.
        """
        ranking = self.rank(target, self._rng)
        self._learned.took(ranking, now=self._clock())
        return ranking

    def rank(self, target: Target, rng: Random | None = None) -> Ranking:
        """The routes for a target. Raises Refused where it may not be reached."""
        classification = self._catalogue.classify(target)
        refusal = self._guard_for(target).check_target(target, classification)
        if refusal is not None:
            raise Refused(HTTPStatus.FORBIDDEN, refusal.code, f"towline: {refusal.message}")
        return self._order(target, classification, rng)

    def family(self, target: Target) -> list[Target]:
        """The other hosts that a pull from the same registry meets, most likely."""
        registry = self._catalogue.registry(self._catalogue.classify(target).registry)
        hosts = registry.usual_hosts() if registry is not None else []
        return [Target(host, target.port) for host in hosts if host != target.host]

    def image(self, target: Target) -> str | None:
        """The public image that probes read from at a target; None where none is known."""
        registry = self._catalogue.registry(self._catalogue.classify(target).registry)
        return None if registry is None else registry.image_at(target.host)

    def admit(self, target: Target, ip: IPAddress) -> str | None:
        """Why a resolved address may not be dialled; None where it may."""
        refusal = self._guard_for(target).check_address(target, ip)
        return None if refusal is None else refusal.message

    def _guard_for(self, target: Target) -> Guard:
        """The guard; where the port is one of our own, it knows this machine's addresses as they are now."""
        if target.port in self._own_ports:
            own = frozenset((ip, port) for ip in _local_addresses() for port in self._own_ports)
            return Guard(self._policy, own=own)
        return self._guard

    def _order(self, target: Target, classification: Classification, rng: Random | None = None) -> Ranking:
        ranking = rank(
            target,
            classification,
            self._config.routes,
            self._learned,
            registry=self._catalogue.registry(classification.registry),
            policy=self._config.policy,
            failover=self._config.failover,
            now=self._clock(),
            rng=rng,
        )
        if self._drained:
            ranking = without(ranking, self._drained, DRAINED)
        return absent_last(ranking, self._absence)

    def _absence(self, route: str) -> str | None:
        """Why a route is not there now; None where it is, as far as this machine can tell."""
        return self._presence.absence(self._specs[route], now=self._clock())

    def explain(self, host: str, port: int) -> dict[str, object]:
        """What a CONNECT to `host`:`port` would meet now, JSON-ready, in the words of the log. Raises TargetError."""
        target = Target.parse(host, port)
        classification = self._catalogue.classify(target)
        refusal = self._guard_for(target).check_target(target, classification)
        ranking = self._order(target, classification)
        return {
            "target": str(target),
            "registry": classification.registry,
            "role": classification.role.value,
            "rule": classification.rule,
            "why": ranking.why,
            "refused": None if refusal is None else refusal.message,
            "candidates": [
                {
                    "route": candidate.route,
                    "description": self._specs[candidate.route].describe(),
                    "names": self._specs[candidate.route].names,
                    "expected_seconds": round(candidate.expected_seconds, 3),
                    "reason": candidate.reason,
                    "evidence": evidence_of(candidate),
                }
                for candidate in ranking.candidates
            ],
            "excluded": [{"route": route, "reason": reason} for route, reason in ranking.excluded],
        }

    def views(self, spec: RouteSpec) -> tuple[RouteRegistryView, ...]:
        """What is known about a route, registry by registry."""
        return registry_views(spec, self._learned, self._catalogue, policy=self._config.policy, now=self._clock())


def _with_fake_addresses(policy: TargetPolicy) -> TargetPolicy:
    """The policy, with the fake addresses of a TUN-mode proxy (Clash, mihomo, sing-box) opened where one runs here.

    Such a proxy answers every name with an address in its own network, which the guard would rightly refuse: then
    Towline would be worse than direct for its users. Its TUN interface has an address in that network.
    """
    if not fakes(map(ipaddress.ip_address, _local_addresses())):
        return policy
    log.info("fake_addresses", network=str(FAKE_ADDRESSES), why="a TUN interface of this machine is in it")
    return replace(policy, private_targets=(*policy.private_targets, str(FAKE_ADDRESSES)))


def fakes(addresses: Iterable[IPAddress]) -> bool:
    """Whether these addresses of a machine show that a TUN-mode proxy runs on it."""
    return any(ip in FAKE_ADDRESSES for ip in addresses)


def _local_addresses() -> frozenset[str]:
    """Every address of this machine, in canonical text (a wildcard listener answers on all of them)."""
    found = set()
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            try:
                found.add(str(ipaddress.ip_address(address.address.partition("%")[0])))
            except ValueError:  # a link-layer address
                continue
    return frozenset(found)
