"""How well Towline chooses routes, beside what others do: python -m tests.bench.policy

Replays traces through the core alone, with fake time, and prints for each policy: mean of the time to completion as a
multiple of the oracle's, the same without the first five minutes, its 95th percentile, the mean of api and auth calls
alone, failed transfers, and switches and probe bytes an hour. Without arguments it makes the scenarios of scenarios.py
from seeds; it takes any trace files (trace.py has the format):

    python -m tests.bench.policy --seeds 5 flapping near-equal    two scenarios, five seeds each
    python -m tests.bench.policy TRACE.jsonl ...                  what a file tells
    python -m tests.bench.policy --write DIRECTORY                the scenarios as files
    python -m tests.bench.policy --worst stalls                   and which transfers Towline lost most by
    python -m tests.bench.policy --json                           figures for machines
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.policy.bench import Result, Task, measure_all
from tests.bench.policy.report import Figures, as_json, over_all, table
from tests.bench.policy.scenarios import SCENARIOS
from tests.bench.policy.trace import TraceError, dump, read
from tests.bench.policy.verdict import verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 2 for a trace that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.policy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="SCENARIO|FILE", help="all scenarios without it")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="traces made of each scenario (default 3)")
    parser.add_argument(
        "--write", type=Path, metavar="DIRECTORY", help="write the scenarios as trace files, run nothing"
    )
    parser.add_argument("--worst", action="store_true", help="tell which transfers Towline lost most by")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        tasks = _tasks(options.what, options.seeds)
    except TraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.write:
        _write(tasks, options.write)
        return 0
    results = []
    for result in measure_all(tasks):
        results.append(result)
        if not options.json:
            print(table(_title(result), result.rows, result.fixed, result.oracle_failed), end="\n\n", flush=True)
            if options.worst:
                print(result.worst, end="\n\n")
    _print_all(results, as_text=not options.json)
    return 0


def _tasks(what: Sequence[str], seeds: int) -> list[Task]:
    """Scenarios by name, and files. Raises TraceError."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    tasks = []
    for name in what or known:
        if (scenario := known.get(name)) is None:
            tasks.append(Task(name, None, (read(Path(name)),)))
        else:
            traces = tuple(scenario.trace(seed) for seed in range(seeds))
            tasks.append(Task(name, scenario.changing, traces))
    return tasks


def _write(tasks: Sequence[Task], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        for seed, trace in enumerate(task.traces):
            path = directory / f"{task.name}-{seed}.jsonl"
            path.write_text("\n".join(dump(trace)) + "\n", encoding="utf-8")
            print(path)


def _title(result: Result) -> str:
    kind = {True: ", changing", False: ", steady", None: ""}[result.changing]
    return f"{result.name}{kind}, {result.transfers} transfers"


def _print_all(results: Sequence[Result], *, as_text: bool) -> None:
    """The scenarios together, those of each kind, and all."""
    groups = {
        "steady scenarios": [result for result in results if result.changing is False],
        "changing scenarios": [result for result in results if result.changing is True],
        "all": list(results),
    }
    groups = {name: group for name, group in groups.items() if group}
    summed = {name: _over_all(group) for name, group in groups.items()}
    if not as_text:
        each = {result.name: as_json(result.rows) for result in results}
        print(json.dumps({"scenarios": each, **{name: as_json(rows) for name, rows in summed.items()}}, indent=2))
        return
    for name, rows in summed.items():
        fixed = over_all(result.fixed for result in groups[name])
        print(table(name, rows, fixed, sum(result.oracle_failed for result in groups[name])), end="\n\n")
    print("what is asked of Towline", *verdict(results), sep="\n")


def _over_all(results: Sequence[Result]) -> dict[str, Figures]:
    return {name: over_all(result.rows[name] for result in results) for name in results[0].rows}


if __name__ == "__main__":
    sys.exit(main())
