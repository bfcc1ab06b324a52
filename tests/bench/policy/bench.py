"""Runs every policy over every scenario, on all processors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.bench.policy.oracle import BestFixed, Oracle
from tests.bench.policy.peers_probing import Dae, Glider, MihomoFallback, MihomoUrlTest, SingBox, Xray
from tests.bench.policy.peers_simple import FirstThatWorks, Randomly, RoundRobin
from tests.bench.policy.peers_traffic import Bandit, Surge
from tests.bench.policy.policy import Policy, Run, run
from tests.bench.policy.report import Figures, figures, worst
from tests.bench.policy.towline import Towline
from tests.bench.policy.trace import Trace
from tests.bench.policy.world import Paths

PEERS: tuple[type[Policy], ...] = (
    FirstThatWorks, RoundRobin, Randomly, SingBox, MihomoUrlTest, MihomoFallback, Glider, Dae, Surge, Bandit, Xray,
)  # fmt: skip
POLICIES: tuple[type[Policy], ...] = (Towline, *PEERS)
WORST = 10  # transfers


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
    fixed: Figures
    """Of the best fixed routes, as the trace turns out."""
    oracle_failed: int
    transfers: int
    worst: str
    """What Towline lost most by, with the first seed."""


def measure(task: Task, policies: Sequence[type[Policy]] = POLICIES) -> Result:
    """Run the policies over the traces of one scenario."""
    worlds = [Paths(trace) for trace in task.traces]

    def runs(make: type[Policy]) -> list[Run]:
        return [run(paths, make(), seed=seed) for seed, paths in enumerate(worlds)]

    oracle = runs(Oracle)
    all_runs = {make.name: runs(make) for make in policies}
    rows = {name: figures(of_policy, oracle) for name, of_policy in all_runs.items()}
    failed = sum(not transfer.ok for each in oracle for transfer in each.transfers)
    lost = worst(all_runs[policies[0].name][0], oracle[0], WORST)
    fixed = figures(runs(BestFixed), oracle)
    transfers = sum(len(trace.requests) for trace in task.traces)
    return Result(task.name, task.changing, rows, fixed, failed, transfers, lost)


def measure_all(tasks: Iterable[Task]) -> Iterator[Result]:
    """The results in the order of the tasks, each as soon as it is there."""
    with ProcessPoolExecutor() as pool:
        yield from pool.map(measure, tasks)
