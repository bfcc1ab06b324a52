"""The policies' one small decision: the budget of a role."""

from __future__ import annotations

import pytest

from towline.core.policy import FailoverPolicy
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
