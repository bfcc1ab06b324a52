"""The bench's table: a row for each figure, a column for each contender, and Towline's ratio to the best other."""

from __future__ import annotations

from collections.abc import Mapping

WIDTH = 10
MORE_IS_BETTER = ("GB/s", "tunnels/s", "slow")
OWN = "towline"
STRAIGHT = "straight"


def table(medians: Mapping[str, Mapping[str, float]]) -> str:
    """The whole of it. `ratio` is Towline's figure over the best peer's; the straight way and HAProxy are no peers."""
    names = list(medians)
    rows = list(dict.fromkeys(row for figures in medians.values() for row in figures))
    head = f"{'':<18}" + "".join(f"{name:>{WIDTH}}" for name in names) + f"{'ratio':>{WIDTH}}  best"
    return "\n".join([head, *(_row(row, medians) for row in rows)])


def _row(row: str, medians: Mapping[str, Mapping[str, float]]) -> str:
    cells = "".join(
        f"{medians[name][row]:>{WIDTH}.3g}" if row in medians[name] else f"{'-':>{WIDTH}}" for name in medians
    )
    peers = {n: f[row] for n, f in medians.items() if row in f and n not in (OWN, STRAIGHT, "haproxy")}
    own = medians.get(OWN, {}).get(row)
    if own is None or not peers:
        return f"{row:<18}{cells}"
    best = (max if row.startswith(MORE_IS_BETTER) else min)(peers, key=lambda name: peers[name])
    ratio = f"{own / peers[best]:>{WIDTH}.2f}" if peers[best] else f"{'-':>{WIDTH}}"
    return f"{row:<18}{cells}{ratio}  {best}"
