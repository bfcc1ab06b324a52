"""The policies' two small decisions: the budget of a role, and the limit on tunnels."""

from __future__ import annotations

import pytest

from towline.core.policy import Capacity, FailoverPolicy, LimitsPolicy
from towline.types import Role


@pytest.mark.parametrize(
    ("role", "expected"), [(Role.API, 1.0), (Role.AUTH, 1.0), (Role.BLOB, 2.0), (Role.UNKNOWN, 3.0)]
)
def test_budget(role: Role, expected: float) -> None:
    """A token is waited for as long as a manifest; blobs and unlisted hosts have budgets of their own."""
    policy = FailoverPolicy(budget_api=1.0, budget_blob=2.0, budget_unlisted=3.0)
    assert policy.budget(role) == expected


def test_default_budgets() -> None:
    """The defaults keep within what clients wait: 15 s for ping and token in all, 60 s for an answer to CONNECT."""
    policy = FailoverPolicy()
    assert policy.budget(Role.API) <= 5.0
    assert policy.budget(Role.BLOB) <= 45.0
    assert policy.attempt_delay < policy.budget(Role.API) / policy.max_parallel


def test_capped() -> None:
    """What the descriptors do not allow is lowered to what they do, and nothing is raised; the rest stays."""
    limits = LimitsPolicy(tunnels=100, heads=50, dials=20, drain=7.0)
    assert limits.capped(None) == limits
    assert limits.capped(Capacity(tunnels=400, heads=400, dials=400, pipes=32)) == limits
    expected = LimitsPolicy(tunnels=40, heads=30, dials=10, drain=7.0)
    assert limits.capped(Capacity(tunnels=40, heads=30, dials=10, pipes=4)) == expected
