"""The bench in small: every policy runs, runs can be repeated, and Towline is ahead of all the others."""

from __future__ import annotations

import pytest
from tests.bench.policy.bench import POLICIES, Task, measure
from tests.bench.policy.policy import run
from tests.bench.policy.report import over_all
from tests.bench.policy.scenarios import SCENARIOS, Scenario
from tests.bench.policy.towline import Towline
from tests.bench.policy.trace import Line, Trace
from tests.bench.policy.world import Paths

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
AHEAD = ("api-fast-bulk-slow", "per-registry", "flapping", "sudden-death", "slow-decay")
MOST = 1.5
"""Times the oracle's mean that Towline may take over these: 20 minutes each, begun without any knowledge."""


def beginning(scenario: Scenario, seconds: float, seed: int = 0) -> Trace:
    """The first part of a scenario's trace."""
    trace = scenario.trace(seed)
    lines: list[Line] = [*trace.states, *trace.requests, *trace.networks]
    return Trace.of(line for line in lines if line.t < seconds)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_policy_runs_every_scenario(scenario: Scenario) -> None:
    """Each serves every request or fails it, and nobody is much better than one who knows what comes."""
    result = measure(Task(scenario.name, scenario.changing, (beginning(scenario, 600.0),)))
    assert list(result.rows) == [policy.name for policy in POLICIES]
    assert result.transfers > 5
    for row in result.rows.values():
        assert 0 <= row.failed <= result.transfers
        assert row.mean > 0.7  # below 1 by releases alone: the oracle stays on the route that it began with


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_equal_seeds_give_equal_runs(policy: type[Towline]) -> None:
    """A figure can be made again."""
    trace = beginning(BY_NAME["flapping"], 600.0)
    runs = [run(Paths(trace), policy(), seed=3) for _ in range(2)]
    assert runs[0] == runs[1]


def test_towline_is_ahead() -> None:
    """Better than every other policy on the mean of some scenarios of each kind, and not far from the best there is."""
    results = [measure(Task(name, None, (beginning(BY_NAME[name], 1200.0),))) for name in AHEAD]
    means = {policy.name: over_all(result.rows[policy.name] for result in results).mean for policy in POLICIES}
    mine = means.pop(Towline.name)
    assert mine < min(means.values())
    assert mine <= MOST
