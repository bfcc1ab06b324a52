"""The policies' two small decisions: the budget of a role, and the limit on tunnels."""

from __future__ import annotations

import pytest

from towline.core.policy import FailoverPolicy, LimitsPolicy
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


@pytest.mark.parametrize(("max_tunnels", "expected"), [(None, 100), (40, 40), (400, 100)])
def test_capped(max_tunnels: int | None, expected: int) -> None:
    """The limit on tunnels is lowered to what the descriptors allow and never raised; the rest stays."""
    limits = LimitsPolicy(tunnels=100, drain=7.0)
    assert limits.capped(max_tunnels) == LimitsPolicy(tunnels=expected, drain=7.0)
