"""Towline beside other proxies, on the same work in one run: python -m tests.bench.peers

Rounds are interleaved: in each, every contender does everything once, in a new process. Shown are medians, and ratios
to the best of the others: times of this machine mean little, and less from one day to the next.

    --rounds N --seconds S --only NAME --idle 1000,5000 --json FILE
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.peers.contenders import CONTENDERS, Contender
from tests.bench.peers.running import Running, running, server
from tests.bench.peers.table import table

BULK = (1, 4, 32)  # tunnels at once
WORKERS = 32  # that open tunnels at once
SLOW = 100  # slow tunnels beside one fast
IDLE_FOR = 4.0  # seconds for which an idle proxy's CPU is measured

type Figures = dict[str, float]


def measure(proxy: Running, target: int, seconds: float, idle: list[int]) -> Figures:
    """Everything, once."""
    found: Figures = {"ready s": proxy.ready}
    proxy.load("churn", target, tunnels=4, seconds=seconds / 4)  # warm
    for tunnels in BULK:
        before = proxy.cpu()
        bulk = proxy.load("bulk", target, tunnels=tunnels, seconds=seconds)
        found[f"GB/s {tunnels}"] = bulk["bytes"] / bulk["seconds"] / 1e9
        if proxy.port is not None:
            found[f"CPU-s/GB {tunnels}"] = (proxy.cpu() - before) / (bulk["bytes"] / 1e9)
    found |= _delays(proxy, target, seconds)
    before = proxy.cpu()
    churn = proxy.load("churn", target, tunnels=WORKERS, seconds=seconds)
    found["tunnels/s"] = churn["tunnels"] / churn["seconds"]
    found["failed"] = churn["failed"]
    if proxy.port is not None:
        found["CPU-ms/tunnel"] = 1000 * (proxy.cpu() - before) / max(1, churn["tunnels"])
    found |= _fairness(proxy, target, seconds)
    if proxy.port is not None:
        found |= _idle(proxy, target, idle)
    return found


def _delays(proxy: Running, target: int, seconds: float) -> Figures:
    calm = proxy.load("delay", target, seconds=seconds)
    argv = proxy.argv("bulk", target, {"tunnels": 4, "seconds": seconds + 0.5})
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL):
        busy = proxy.load("delay", target, seconds=seconds)
    return {
        "p50 ms": 1000 * calm["p50"], "p99 ms": 1000 * calm["p99"],
        "busy p50 ms": 1000 * busy["p50"], "busy p99 ms": 1000 * busy["p99"],
    }  # fmt: skip


def _fairness(proxy: Running, target: int, seconds: float) -> Figures:
    """What is left to slow tunnels beside a fast one, of what they get without it."""
    alone, beside = (proxy.load("fair", target, tunnels=SLOW, seconds=seconds, fast=fast) for fast in (0, 1))
    return {"slow least": beside["least"] / max(1, alone["least"]), "slow mean": beside["mean"] / max(1, alone["mean"])}


def _idle(proxy: Running, target: int, counts: list[int]) -> Figures:
    found: Figures = {}
    before, began = proxy.cpu(), time.monotonic()
    time.sleep(IDLE_FOR)
    found["idle CPU %"] = 100 * (proxy.cpu() - before) / (time.monotonic() - began)
    empty = proxy.rss()
    for count in counts:
        try:
            with proxy.holding(count, target):
                found[f"KiB/idle {count}"] = (proxy.rss() - empty) / count / 1024
                before, began = proxy.cpu(), time.monotonic()
                time.sleep(IDLE_FOR)
                found[f"idle CPU % {count}"] = 100 * (proxy.cpu() - before) / (time.monotonic() - began)
        except ChildProcessError as error:  # the Go relay's idle splices hold six descriptors a tunnel
            print(error, file=sys.stderr)
            break
    return found


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--idle", default="1000,5000")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    idle = [int(count) for count in options.idle.split(",") if count]
    here = [one for one in CONTENDERS if one.is_here and (not options.only or one.name in options.only)]
    for one in CONTENDERS:
        if not one.is_here:
            print(f"left out, as it is not installed: {one.name}", file=sys.stderr)
    rounds: dict[str, list[Figures]] = {"straight": [], **{one.name: [] for one in here}}
    with server() as target:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            rounds["straight"].append(measure(Running("straight", None), target, options.seconds, []))
            for one in here:
                rounds[one.name].append(_round(one, target, options.seconds, idle))
    medians = {name: _medians(found) for name, found in rounds.items()}
    print(table(medians))
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "medians": medians}, indent=1))
    return 0


def _round(one: Contender, target: int, seconds: float, idle: list[int]) -> Figures:
    try:
        with running(one, target) as proxy:
            return measure(proxy, target, seconds, idle)
    except (subprocess.CalledProcessError, ChildProcessError) as error:
        print(f"{one.name}: {error} {getattr(error, 'stderr', '') or ''}", file=sys.stderr)
        return {}


def _medians(found: list[Figures]) -> Figures:
    names: dict[str, Any] = {name: None for figures in found for name in figures}
    return {name: statistics.median(f[name] for f in found if name in f) for name in names}


if __name__ == "__main__":
    sys.exit(main())
