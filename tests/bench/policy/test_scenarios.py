"""Scenarios are traces like any others, the same for equal seeds."""

from __future__ import annotations

import pytest
from tests.bench.policy.scenarios import HOUR, SCENARIOS, Scenario
from tests.bench.policy.trace import dump, parse

from towline.types import Role


def test_there_are_enough_of_either_kind() -> None:
    """At least twelve, each with its own name and a sentence about it."""
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS) >= 12
    assert all(scenario.about for scenario in SCENARIOS)
    assert {scenario.changing for scenario in SCENARIOS} == {True, False}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_is_a_trace(scenario: Scenario) -> None:
    """It can be written and read; equal seeds give equal traces, others give others; all roles are asked for."""
    trace = scenario.trace(1)
    assert parse(dump(trace), scenario.name) == trace == scenario.trace(1) != scenario.trace(2)
    assert {request.role for request in trace.requests} == {Role.API, Role.AUTH, Role.BLOB}
    assert len(trace.routes) >= 3
    assert trace.ends >= HOUR * 0.9
