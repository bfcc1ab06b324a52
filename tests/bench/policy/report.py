"""From runs to figures, and from figures to a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from tests.bench.policy.policy import Run, Transfer

from towline.types import Role

WARM_UP = 300.0
"""Seconds from a trace's beginning in which policies are taken to get to know its routes. They all begin knowing
nothing, as a daemon does once: `warm` leaves this time out, `mean` does not."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One policy over one scenario, or over several: then the mean of each figure, and the sum of what failed."""

    mean: float
    """Mean completion time, as a multiple of the oracle's."""
    warm: float
    """The same of what was asked for when WARM_UP was over; all of it, where nothing was."""
    p95: float
    """The same of the 95th percentile."""
    calls: float
    """Mean of api and auth alone, as a multiple of the oracle's."""
    failed: int
    """Transfers that failed."""
    switches_per_hour: float
    probe_bytes_per_hour: float


def figures(runs: Sequence[Run], oracle: Sequence[Run]) -> Figures:
    """One policy over one scenario, a run for each seed, beside the oracle's runs of the same traces."""
    mine, its = _transfers(runs), _transfers(oracle)
    warm = _warm(runs), _warm(oracle)
    hours = sum(run.hours for run in runs) or 1.0
    return Figures(
        mean=_ratio(_mean(mine), _mean(its)),
        warm=_ratio(*map(_mean, warm if all(warm) else (mine, its))),
        p95=_ratio(_p95(mine), _p95(its)),
        calls=_ratio(_calls(mine), _calls(its)),
        failed=sum(not t.ok for t in mine),
        switches_per_hour=sum(run.counts.switches for run in runs) / hours,
        probe_bytes_per_hour=sum(run.counts.probe_bytes for run in runs) / hours,
    )


def over_all(parts: Iterable[Figures]) -> Figures:
    """Over several scenarios, each of which counts alike."""
    parts = list(parts)
    return Figures(
        mean=fmean(part.mean for part in parts),
        warm=fmean(part.warm for part in parts),
        p95=fmean(part.p95 for part in parts),
        calls=fmean(part.calls for part in parts),
        failed=sum(part.failed for part in parts),
        switches_per_hour=fmean(part.switches_per_hour for part in parts),
        probe_bytes_per_hour=fmean(part.probe_bytes_per_hour for part in parts),
    )


def table(title: str, rows: Mapping[str, Figures], fixed: Figures, oracle_failed: int) -> str:
    """A table of policies, the best mean first; below them those that know the trace."""
    lines = [
        title,
        f"  {'':28}{'mean':>8}{'warm':>8}{'p95':>8}{'calls':>8}{'failed':>8}{'switches/h':>12}{'probes kB/h':>13}",
    ]
    for name, row in [*sorted(rows.items(), key=lambda item: item[1].mean), ("(best fixed routes)", fixed)]:
        lines.append(
            f"  {name:28}{row.mean:8.3f}{row.warm:8.3f}{row.p95:8.3f}{row.calls:8.3f}{row.failed:8d}"
            f"{row.switches_per_hour:12.1f}{row.probe_bytes_per_hour / 1000:13.1f}"
        )
    lines.append(f"  {'(oracle)':28}{1:8.3f}{1:8.3f}{1:8.3f}{1:8.3f}{oracle_failed:8d}")
    return "\n".join(lines)


def as_json(rows: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """The same figures for machines."""
    return {name: asdict(row) for name, row in rows.items()}


def worst(run: Run, oracle: Run, number: int) -> str:
    """The transfers of one trace that lost most time to the oracle's, one a line."""
    pairs = sorted(zip(run.transfers, oracle.transfers, strict=True), key=lambda pair: pair[1].cost - pair[0].cost)
    lines = []
    for mine, its in pairs[:number]:
        asked = mine.request
        what = f"{asked.registry} {asked.role} {asked.bytes / 1e6:.3f} MB"
        ended = f"{mine.seconds:.2f} s" if mine.ok else f"failed after {mine.seconds:.2f} s"
        ways = ", ".join(mine.ways) or "no route"
        lines.append(
            f"  at {asked.t:9.2f} {what:26} {ended} by {ways}; the oracle {its.seconds:.2f} s by {', '.join(its.ways)}"
        )
    return "\n".join(lines)


def _transfers(runs: Sequence[Run]) -> list[Transfer]:
    return [transfer for run in runs for transfer in run.transfers]


def _warm(runs: Sequence[Run]) -> list[Transfer]:
    return [t for run in runs for t in run.transfers if t.request.t >= run.begins + WARM_UP]


def _mean(transfers: Sequence[Transfer]) -> float:
    return fmean(transfer.cost for transfer in transfers)


def _calls(transfers: Sequence[Transfer]) -> float:
    return fmean([t.cost for t in transfers if t.request.role is not Role.BLOB] or [0.0])


def _p95(transfers: Sequence[Transfer]) -> float:
    """The smallest time that 95 % of the transfers do not exceed."""
    times = sorted(t.cost for t in transfers)
    return times[math.ceil(0.95 * len(times)) - 1]


def _ratio(mine: float, its: float) -> float:
    return mine / its if its else 1.0
