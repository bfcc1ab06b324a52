"""What is asked of Towline beside the others, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.policy.bench import Result
from tests.bench.policy.report import over_all
from tests.bench.policy.towline import Towline

STEADY, CHANGING = 1.05, 1.20  # times the oracle's mean
BEHIND = 1.05  # times the mean of the best of the others, on any scenario
SWITCHES = 6.0  # an hour, where nothing but noise moves
NOISE = ("apart", "near-equal")  # these; elsewhere one tunnel now and then goes another way because its dial was lost


def verdict(results: Sequence[Result]) -> Iterator[str]:
    """One line for each thing that is asked: what was measured, and what was to be."""
    for kind, changing, most in (("steady", False, STEADY), ("changing", True, CHANGING)):
        if some := [result for result in results if result.changing is changing]:
            mine, fixed = over_all(r.rows[Towline.name] for r in some), over_all(result.fixed for result in some)
            text = f"mean on {kind} scenarios {mine.mean:.3f}, {most:.2f} at most"
            beside = f"once warm {mine.warm:.3f}; best fixed routes {fixed.mean:.3f}, {fixed.warm:.3f}"
            yield _line(mine.mean <= most, f"{text} ({beside})")
    others = [name for name in results[0].rows if name != Towline.name]
    means = {name: over_all(result.rows[name] for result in results).mean for name in (Towline.name, *others)}
    next_best = min(others, key=lambda name: means[name])
    yield _line(
        means[Towline.name] < means[next_best],
        f"mean of all {means[Towline.name]:.3f}, below the best of the others ({means[next_best]:.3f} {next_best})",
    )
    behind = [text for result in results if (text := _behind(result, others))]
    yield _line(not behind, f"behind the best of the others by 5 % at most: {'; '.join(behind) or 'everywhere'}")
    failed = {name: sum(result.rows[name].failed for result in results) for name in means}
    least = min(others, key=lambda name: failed[name])
    yield _line(
        failed[Towline.name] < failed[least] or not failed[Towline.name],
        f"{failed[Towline.name]} failed, fewer than of any other ({failed[least]} {least})",
    )
    switches = {r.name: r.rows[Towline.name].switches_per_hour for r in results if r.name in NOISE}
    if switches:
        most_of = max(switches, key=lambda name: switches[name])
        text = f"{switches[most_of]:.1f} switches an hour on {most_of}, {SWITCHES:.0f} at most where all is noise"
        yield _line(switches[most_of] <= SWITCHES, text)


def _behind(result: Result, others: Sequence[str]) -> str:
    best = min(others, key=lambda name: result.rows[name].mean)
    ours, theirs = result.rows[Towline.name].mean, result.rows[best].mean
    return f"{result.name} {ours:.3f} to {theirs:.3f} ({best})" if ours > BEHIND * theirs else ""


def _line(met: bool, text: str) -> str:
    return f"  {'met    ' if met else 'not met'}  {text}"
