"""Whatever a trace says, every policy comes to its end with it."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bench.policy.bench import POLICIES
from tests.bench.policy.oracle import BestFixed, Oracle
from tests.bench.policy.policy import Policy, run
from tests.bench.policy.trace import ROLES, Line, Network, Request, State, Trace
from tests.bench.policy.world import Paths

TIMES = st.floats(0, 400).map(lambda t: round(t, 1))
WAITS = st.none() | st.sampled_from([0.0, 0.05, 3.0, 40.0])
REGISTRIES = st.sampled_from(["hub", "ghcr"])
STATES = st.builds(
    State,
    t=TIMES,
    route=st.sampled_from(["a", "b", "c"]),
    connect=WAITS,
    first_byte=WAITS,
    rate=st.sampled_from([0.0, 500.0, 1e5, 1e7]),
    stall=st.booleans(),
    registry=st.none() | REGISTRIES,
    role=st.none() | st.sampled_from(ROLES),
    probe=st.booleans(),
    loss=st.sampled_from([0.0, 0.1]),
)
REQUESTS = st.builds(
    Request, t=TIMES, registry=REGISTRIES, role=st.sampled_from(ROLES), bytes=st.sampled_from([0, 1, 5000, 10**8])
)
NETWORKS = st.builds(Network, t=TIMES, network=st.just("other"))
LINES = st.tuples(
    st.lists(STATES, min_size=1, max_size=12),
    st.lists(REQUESTS, min_size=1, max_size=6),
    st.lists(NETWORKS, max_size=1),
)
EVERYONE: tuple[type[Policy], ...] = (Oracle, BestFixed, *POLICIES)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINES)
def test_any_trace_is_run_to_its_end(parts: tuple[list[State], list[Request], list[Network]]) -> None:
    """Each request is served over some route, or fails."""
    lines: list[Line] = [line for part in parts for line in part]
    paths = Paths(Trace.of(lines))
    for policy in EVERYONE:
        transfers = run(paths, policy(), seed=1).transfers
        assert len(transfers) == len(parts[1])
        for transfer in transfers:
            assert 0 <= transfer.seconds < math.inf
            assert not transfer.ok or transfer.ways or not transfer.request.bytes
