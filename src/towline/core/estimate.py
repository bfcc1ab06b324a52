"""The one currency: seconds until a typical transfer over a route is expected to be complete.

    cost + dial + first byte + typical bytes / rate + P(failure) * cost of failing over

Every candidate carries these parts, how sure their sum is, and how old the evidence is, and says them in one phrase.
"""

from __future__ import annotations

import math

from towline.core.borrow import NOTHING, Known
from towline.core.circuit import Circuit
from towline.core.classify import RegistrySpec
from towline.core.health import Health
from towline.types import Estimate, Role, RouteSpec

FAILING_OVER = {Role.API: 1.5, Role.AUTH: 1.5, Role.UNKNOWN: 1.5, Role.BLOB: 5.0}
"""Seconds that a failure costs the client: the patience with an unanswered flight; at a blob host a cut more often than
not, and then dockerd's "Retrying in 5 seconds" (clients.md A.8)."""
JUST_FAILED = 0.5  # seconds: twice the pause that a silent route costs the client, so that the next dial goes elsewhere
DIRECT_FIRST = 60.0  # seconds added to other routes where the registry is best reached directly
DIRECT = "direct"  # the name of the route that unlisted targets take by default, and that direct_first means
OLD = 600.0  # seconds from which on a reason tells how old its evidence is


def estimate(
    spec: RouteSpec, known: Known, registry: RegistrySpec | None, *, role: Role, typical: float, now: float
) -> Estimate:
    """Expected seconds over a route for a transfer of `typical` bytes, and the phrase that says what they rest on."""
    dial, answer = known.dial.mean, known.answer.mean
    transfer = typical * known.rate.mean_of_inverse
    own = known.own or Health()
    failing = known.failure * own.tries.cost(FAILING_OVER[role])
    if own.streak.failed_just_now(now=now):
        failing += JUST_FAILED
    near = registry is not None and registry.direct_first and spec.name != DIRECT
    added = spec.cost + (DIRECT_FIRST if near else 0.0)
    parts = ((dial, known.dial), (answer, known.answer), (transfer, known.rate))
    deviation = math.sqrt(sum(part**2 * belief.variance for part, belief in parts))
    noise = math.sqrt(sum(part**2 * min(belief.variance, belief.spread) for part, belief in parts))
    measured = own.measured_at()
    return Estimate(
        seconds=added + dial + answer + transfer + failing,
        deviation=deviation,
        noise=noise,
        dial=dial,
        first_byte=answer,
        rate=1 / known.rate.mean_of_inverse,
        bytes=typical,
        failure=known.failure,
        circuit=own.circuit(now=now).value,
        age=None if measured is None else now - measured,
        probed=None if own.probed_at is None else now - own.probed_at,
        reason=_reason(spec, known, own, role, near=registry.name if near and registry else "", now=now),
    )


def _reason(spec: RouteSpec, known: Known, own: Health, role: Role, *, near: str, now: float) -> str:
    parts = [f"cost {spec.cost:g} s"] if spec.cost else []
    parts += _measured(known, own, role, now)
    if own.streak.faded(now=now):
        parts.append(_failures(own, now))
    if (circuit := own.circuit(now=now)) is not Circuit.CLOSED:
        parts.append(f"circuit {circuit}")
    if near:
        parts.append(f"{near} is best reached directly")
    return ", ".join(parts)


def _measured(known: Known, own: Health, role: Role, now: float) -> list[str]:
    """What was measured, in the words of the log."""
    if known.lent:
        return [_borrowed(known, role)]
    parts = []
    if (dial := own.dial.value) is not None:
        parts.append(f"dials in {dial * 1000:.0f} ms")
    if (answer := own.answer.value) is not None:
        parts.append(f"answers in {answer * 1000:.0f} ms")
    if known.is_shared:
        parts.append(f"its tunnels share {known.rate.value / 1e6:.3g} MB/s")
    elif role is Role.BLOB and (rate := own.rate.value) is not None:
        parts.append(f"carries {rate / 1e6:.3g} MB/s")
    age = now - (own.measured_at() or now)
    return [*parts, f"measured {age:.0f} s ago"] if age >= OLD else parts


def _borrowed(known: Known, role: Role) -> str:
    if known.lent == NOTHING:
        return NOTHING
    rate = f" and {known.rate.value / 1e6:.3g} MB/s" if role is Role.BLOB else ""
    return f"about {(known.dial.mean + known.answer.mean) * 1000:.0f} ms{rate} {known.lent}"


def _failures(own: Health, now: float) -> str:
    times = "failed" if own.streak.in_a_row == 1 else f"failed {own.streak.in_a_row} times in a row, last"
    return f"{times} {now - own.streak.last_failure:.0f} s ago ({own.last_error})"
