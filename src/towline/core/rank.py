"""Rank: which routes may serve a target, and in which order, each with its seconds and its reason.

    expected seconds = configured cost + expected dial time + (faded failures beyond the first) * FAILURE_COST
                       + JUST_FAILED for some seconds after a failure

A single failure moves little and not for long: one lost SYN would else put a good route behind a bad one for minutes.
Equal routes stay in the order of the configuration. A route that nobody measured is taken to be middling: it neither
pushes aside a good one that was, nor is it left behind a bad one. A route with an open circuit stands last but is never
left out: when all others fail it is still tried. What is left out, and why, is told as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from towline.core.classify import RegistrySpec
from towline.core.health import DIAL_HALF_LIFE, Circuit, Health
from towline.core.policy import FailoverPolicy, TargetPolicy
from towline.types import UNLISTED, Candidate, Classification, Ranking, RouteSpec, Target

JUST_FAILED = 0.5  # seconds: twice the pause that a silent route costs the client, so that the next dial goes elsewhere
FAILURE_COST = 5.0  # seconds that a second failure in a row weighs: dockerd's first "Retrying in 5 seconds"
DIRECT_FIRST = 60.0  # seconds added to other routes where the registry is best reached directly
MIN_ATTEMPT_DELAY = 0.1  # seconds; RFC 8305 section 8 recommends this least pause
MAX_ATTEMPT_DELAY = 2.0  # seconds; RFC 8305 section 8 recommends this longest pause
MIN_PATIENCE = 0.8  # seconds: a second of silence is often one lost packet (RFC 6298 2.1 starts at 1 s)
MAX_PATIENCE = 2.0  # seconds: four routes have their turn within the 9 s that a first flight may take
DIRECT = "direct"  # the name of the route that unlisted targets take by default, and that direct_first means


def rank(
    target: Target,
    classification: Classification,
    routes: Sequence[RouteSpec],
    health: Mapping[tuple[str, str], Health],
    *,
    registry: RegistrySpec | None,
    policy: TargetPolicy,
    failover: FailoverPolicy,
    now: float,
) -> Ranking:
    """Order `routes` for `target`; `health` is keyed by (route, registry)."""
    excluded: list[tuple[str, str]] = []
    ranked: list[tuple[bool, float, Candidate]] = []
    for spec in routes:
        if reason := _why_not(spec, classification, registry, policy):
            excluded.append((spec.name, reason))
            continue
        known = health.get((spec.name, classification.registry)) or Health()
        seconds, because = estimate(spec, known, registry, now=now)
        candidate = Candidate(spec.name, seconds, because, _attempt_delay(known, failover), _patience(known, failover))
        ranked.append((known.circuit(now=now) is Circuit.OPEN, seconds, candidate))
    ranked.sort(key=lambda entry: entry[:2])  # stable: equal routes keep the configured order
    return Ranking(target, classification, tuple(candidate for _, _, candidate in ranked), tuple(excluded))


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


def estimate(spec: RouteSpec, known: Health, registry: RegistrySpec | None, *, now: float) -> tuple[float, str]:
    """Expected seconds over a route for a registry, and the phrase that adds them up."""
    seconds = spec.cost + known.expected_dial(now=now)
    parts = [f"cost {spec.cost:g} s"] if spec.cost else []
    parts.append(_dials(known, now))
    if weight := known.weight_of_failures(now=now):
        seconds += max(0.0, weight - 1.0) * FAILURE_COST + (JUST_FAILED if known.failed_just_now(now=now) else 0.0)
        parts.append(_failures(known, now))
    if (circuit := known.circuit(now=now)) is not Circuit.CLOSED:
        parts.append(f"circuit {circuit}")
    if registry is not None and registry.direct_first and spec.name != DIRECT:
        seconds += DIRECT_FIRST
        parts.append(f"{registry.name} is best reached directly")
    return seconds, ", ".join(parts)


def _dials(known: Health, now: float) -> str:
    if known.dial.mean is None:
        return "not measured yet"
    text = f"dials in {known.dial.mean * 1000:.0f} ms"
    age = now - known.dial.measured_at
    return text if age < DIAL_HALF_LIFE else f"{text}, measured {age:.0f} s ago"


def _failures(known: Health, now: float) -> str:
    times = "failed" if known.in_a_row == 1 else f"failed {known.in_a_row} times in a row, last"
    return f"{times} {now - known.last_failure:.0f} s ago ({known.last_error})"


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
