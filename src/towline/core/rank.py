"""Rank: which routes may serve a target, and in which order, each with its seconds and its reason.

The order is that of the expected seconds (estimate.py). Equal routes stay in the order of the configuration. A route
that nobody measured is taken to be middling (borrow.py): it neither pushes aside a good one that was, nor is it left
behind a bad one. A route with an open circuit stands last but is never left out: when all others fail it is still
tried. What is left out, and why, is told as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from towline.core.borrow import Known, known
from towline.core.choice import Random, explored, settled
from towline.core.circuit import Circuit
from towline.core.classify import RegistrySpec
from towline.core.estimate import DIRECT, estimate
from towline.core.health import Health
from towline.core.learned import Learned
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.core.spread import Sharing, spread, undivided
from towline.types import UNLISTED, Candidate, Classification, Ranking, Role, RouteSpec, Target

MIN_ATTEMPT_DELAY = 0.1  # seconds; RFC 8305 section 8 recommends this least pause
MAX_ATTEMPT_DELAY = 2.0  # seconds; RFC 8305 section 8 recommends this longest pause
MIN_PATIENCE = 0.8  # seconds: a second of silence is often one lost packet (RFC 6298 2.1 starts at 1 s)
MAX_PATIENCE = 2.0  # seconds: four routes have their turn within the 9 s that a first flight may take


def rank(
    target: Target,
    classification: Classification,
    routes: Sequence[RouteSpec],
    learned: Learned,
    *,
    registry: RegistrySpec | None,
    policy: TargetPolicy,
    failover: FailoverPolicy,
    now: float,
    rng: Random | None = None,
) -> Ranking:
    """Order `routes` for `target` by what was learned of them; with `rng`, a small share of rankings explores."""
    reasons = {spec.name: _why_not(spec, classification, registry, policy) for spec in routes}
    fit = [spec for spec in routes if reasons[spec.name] is None]
    name, role = classification.registry, classification.role
    beliefs = believed(learned, [spec.name for spec in fit], name, role, policy=policy, now=now)
    sharing = _sharing(learned, name, role, policy)
    typical = learned.typical(name, role)
    ranked: list[Candidate] = []
    for spec in fit:
        one = beliefs[spec.name]
        found = estimate(spec, one, registry, role=role, typical=typical, now=now)
        own = one.own or Health()
        ranked.append(
            Candidate(
                spec.name,
                found.seconds,
                found.reason,
                _attempt_delay(own, failover),
                _patience(own, failover),
                found,
            )
        )
    ranked.sort(key=_place)  # stable: equal routes keep the configured order
    chosen = settled(ranked, learned.choices.get((name, role)), learned.family(name, role), now=now)
    candidates = chosen if sharing is None else spread(chosen, sharing, now=now)
    is_spread = bool(chosen) and candidates[0].route != chosen[0].route
    if role is Role.BLOB and rng is not None and not is_spread:
        candidates = explored(candidates, learned.explored_at.get(name), rng, now=now)
    excluded = tuple((route, reason) for route, reason in reasons.items() if reason is not None)
    return Ranking(target, classification, candidates, excluded, chosen[0].route if chosen else None, is_spread)


def believed(
    learned: Learned, routes: Iterable[str], registry: str, role: Role, *, policy: TargetPolicy, now: float
) -> dict[str, Known]:
    """What is believed of each of these routes, as the ranking takes it."""
    beliefs = known(learned.health, routes, registry, role, now=now)
    sharing = _sharing(learned, registry, role, policy)
    return beliefs if sharing is None else undivided(beliefs, sharing, now=now)


def _sharing(learned: Learned, registry: str, role: Role, policy: TargetPolicy) -> Sharing | None:
    """How the registry's layers share routes, where they may be spread."""
    return learned.sharing.get(registry) if role is Role.BLOB and policy.spread == "auto" else None


def without(ranking: Ranking, routes: Collection[str], why: str) -> Ranking:
    """The ranking with `routes` left out for this reason."""
    kept = tuple(candidate for candidate in ranking.candidates if candidate.route not in routes)
    left_out = tuple((candidate.route, why) for candidate in ranking.candidates if candidate.route in routes)
    choice = ranking.choice if ranking.choice not in routes else next((one.route for one in kept), None)
    return replace(ranking, candidates=kept, excluded=(*ranking.excluded, *left_out), choice=choice)


def _place(candidate: Candidate) -> tuple[bool, float]:
    is_open = candidate.estimate is not None and candidate.estimate.circuit == Circuit.OPEN
    return is_open, candidate.expected_seconds


def _why_not(
    spec: RouteSpec,
    classification: Classification,
    registry: RegistrySpec | None,
    policy: TargetPolicy,
) -> str | None:
    """Why a route may not serve the target; None where it may."""
    if spec.disabled:
        return "disabled in the configuration"
    if classification.registry == UNLISTED:
        if policy.unlisted == "direct" and spec.name != DIRECT:
            return f"unlisted hosts go over {DIRECT} (policy.unlisted)"
        return None
    if registry is not None and registry.routes is not None and spec.name not in registry.routes:
        return f"registry {registry.name} is limited to {', '.join(registry.routes) or 'no route'}"
    if spec.registries is not None and classification.registry not in spec.registries:
        return f"serves only {', '.join(spec.registries) or 'unlisted targets'}"
    return None


def _attempt_delay(known: Health, failover: FailoverPolicy) -> float:
    """How long to wait for this route before the next is started beside it: as long as its dials usually take."""
    usual = known.dial.usual()
    if usual is None:
        return failover.attempt_delay
    return min(max(usual, MIN_ATTEMPT_DELAY), MAX_ATTEMPT_DELAY)


def _patience(known: Health, failover: FailoverPolicy) -> float:
    """How long to wait for this route's answer to a first flight before it is replayed on the next."""
    usual = known.answer.usual()
    if usual is None:
        return failover.patience
    return min(max(usual, MIN_PATIENCE), MAX_PATIENCE)
