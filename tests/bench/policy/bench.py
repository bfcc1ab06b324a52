"""Runs every policy over every scenario, on all processors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.bench.policy.oracle import Oracle
from tests.bench.policy.peers_probing import Dae, Glider, MihomoFallback, MihomoUrlTest, SingBox, Xray
from tests.bench.policy.peers_simple import FirstThatWorks, Randomly, RoundRobin
from tests.bench.policy.peers_traffic import Bandit, Surge
from tests.bench.policy.policy import Policy, Run, run
from tests.bench.policy.report import Figures, figures
from tests.bench.policy.trace import Trace
from tests.bench.policy.world import Paths

PEERS: tuple[Callable[[], Policy], ...] = (
    FirstThatWorks, RoundRobin, Randomly, SingBox, MihomoUrlTest, MihomoFallback, Glider, Dae, Surge, Bandit, Xray,
)  # fmt: skip
POLICIES = PEERS


@dataclass(frozen=True, slots=True)
class Task:
    """Traces of one scenario, one for each seed."""

    name: str
    changing: bool | None
    """Whether its best route changes; None where nobody says."""
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one scenario: the figures of each policy, by name."""

    name: str
    changing: bool | None
    rows: Mapping[str, Figures]
    oracle_failed: int
    transfers: int


def measure(task: Task, policies: Sequence[Callable[[], Policy]] = POLICIES) -> Result:
    """Run the policies over the traces of one scenario."""
    worlds = [Paths(trace) for trace in task.traces]

    def runs(make: Callable[[], Policy]) -> list[Run]:
        return [run(paths, make(), seed=seed) for seed, paths in enumerate(worlds)]

    oracle = runs(Oracle)
    rows = {make().name: figures(runs(make), oracle) for make in policies}
    failed = sum(not transfer.ok for each in oracle for transfer in each.transfers)
    return Result(task.name, task.changing, rows, failed, sum(len(trace.requests) for trace in task.traces))


def measure_all(tasks: Iterable[Task]) -> Iterator[Result]:
    """The results in the order of the tasks, each as soon as it is there."""
    with ProcessPoolExecutor() as pool:
        yield from pool.map(measure, tasks)
