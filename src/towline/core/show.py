"""What was learned, as it is shown: in status.json registry by registry, in `explain` route by route."""

from __future__ import annotations

from collections import defaultdict

from towline.core.classify import Catalogue
from towline.core.estimate import estimate
from towline.core.health import Health
from towline.core.learned import Learned
from towline.core.level import Level, joined
from towline.core.policy import TargetPolicy
from towline.core.rank import believed
from towline.types import Candidate, Role, RouteSpec
from towline.views import RoleView, RouteRegistryView


def registry_views(
    spec: RouteSpec, learned: Learned, catalogue: Catalogue, *, policy: TargetPolicy, now: float
) -> tuple[RouteRegistryView, ...]:
    """What is known about a route, for every registry that there is evidence for."""
    registries: dict[str, list[tuple[Role, Health]]] = defaultdict(list)
    for (route, registry, role), health in learned.health.items():
        if route == spec.name:
            registries[registry].append((role, health))
    return tuple(
        _registry_view(spec, registry, roles, learned, catalogue, policy=policy, now=now)
        for registry, roles in registries.items()
    )


def _registry_view(
    spec: RouteSpec,
    registry: str,
    roles: list[tuple[Role, Health]],
    learned: Learned,
    catalogue: Catalogue,
    *,
    policy: TargetPolicy,
    now: float,
) -> RouteRegistryView:
    views = [
        _role_view(spec, registry, role, health, learned, catalogue, policy=policy, now=now) for role, health in roles
    ]
    main = max(views, key=lambda view: view.typical_bytes)
    healths = [health for _, health in roles]
    probed = [view.probed_seconds_ago for view in views if view.probed_seconds_ago is not None]
    return RouteRegistryView(
        registry=registry,
        success=_success(healths, now),
        first_byte_seconds=_value([health.answer for health in healths], now),
        rate_bytes_per_second=_value([health.rate for health in healths], now),
        expected_seconds=main.expected_seconds,
        reason=main.reason,
        probed_seconds_ago=min(probed, default=None),
        roles=tuple(views),
    )


def _role_view(
    spec: RouteSpec,
    registry: str,
    role: Role,
    health: Health,
    learned: Learned,
    catalogue: Catalogue,
    *,
    policy: TargetPolicy,
    now: float,
) -> RoleView:
    one = believed(learned, [spec.name], registry, role, policy=policy, now=now)[spec.name]
    typical = learned.typical(registry, role)
    found = estimate(spec, one, catalogue.registry(registry), role=role, typical=typical, now=now)
    return RoleView(
        role=role.value,
        success=_success([health], now),
        first_byte_seconds=health.answer.value,
        rate_bytes_per_second=health.rate.value,
        expected_seconds=round(found.seconds, 3),
        deviation_seconds=round(found.deviation, 3),
        typical_bytes=round(typical),
        circuit=found.circuit,
        reason=found.reason,
        measured_seconds_ago=found.age,
        probed_seconds_ago=found.probed,
    )


def _success(healths: list[Health], now: float) -> float | None:
    counts = [tries.counts(now=now) for health in healths for tries in (health.tries, health.probes)]
    ok, bad = sum(ok for ok, _ in counts), sum(bad for _, bad in counts)
    return ok / (ok + bad) if ok + bad else None


def _value(levels: list[Level], now: float) -> float | None:
    together = joined(level.belief(now=now) for level in levels)
    return None if together is None else together.value


def evidence_of(candidate: Candidate) -> dict[str, object] | None:
    """What a candidate's seconds are made of and how good the evidence is, JSON-ready."""
    found = candidate.estimate
    if found is None:
        return None
    return {
        "deviation_seconds": round(found.deviation, 3),
        "dial_seconds": round(found.dial, 4),
        "first_byte_seconds": round(found.first_byte, 4),
        "rate_bytes_per_second": round(found.rate),
        "typical_bytes": round(found.bytes),
        "failure": round(found.failure, 4),
        "circuit": found.circuit,
        "measured_seconds_ago": None if found.age is None else round(found.age, 1),
        "probed_seconds_ago": None if found.probed is None else round(found.probed, 1),
    }
