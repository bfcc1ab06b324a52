"""`towline status` as text: health first, then routes, tunnels and totals, in lines of 80 columns at most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from towline.cli.layout import Column, byte_count, duration, fit, table
from towline.views import ProbesView, RouteView, Snapshot, TunnelView

MAX_TUNNELS = 20  # shown, the most recently active first: a screenful; --json has them all

ROUTE_COLUMNS = (
    Column("ROUTE"),
    Column("CIRCUIT"),
    Column("TUNNELS", right=True),
    Column("RECEIVED", right=True),
    Column("SENT", right=True),
    Column("ATTEMPTS", right=True),
    Column("FAILED", right=True),
)
TUNNEL_COLUMNS = (
    Column("TARGET"),
    Column("REGISTRY"),
    Column("ROUTE"),
    Column("PHASE"),
    Column("RECEIVED", right=True),
    Column("AGE", right=True),
    Column("IDLE", right=True),
)


def status_text(snapshot: Snapshot) -> str:
    """The whole text. Styled with ANSI sequences, which click.echo drops where they are not wanted."""
    blocks = (_health(snapshot), _routes(snapshot.routes), _tunnels(snapshot.tunnels), _totals(snapshot))
    return "\n\n".join("\n".join(lines) for lines in map(list, blocks) if lines)


def _health(snapshot: Snapshot) -> Iterator[str]:
    usable = sum(_is_usable(route) for route in snapshot.routes)
    state = "draining" if snapshot.draining else "ready" if snapshot.ready else "starting"
    text = fit(
        f"towline {snapshot.version} {state}: {usable} of {_count(len(snapshot.routes), 'route')} usable, "
        f"{_count(len(snapshot.tunnels), 'tunnel')} open, up {duration(snapshot.uptime_seconds)}"
    )
    yield click.style(text, fg="green" if state == "ready" and usable else "yellow", bold=True)
    yield fit(f"listening on {', '.join(snapshot.listen)}")
    if snapshot.network.ways_out:
        yield fit(f"leaving by {'; '.join(snapshot.network.ways_out)}{_changed(snapshot.network.changed_seconds_ago)}")
    if snapshot.network.fingerprint is not None:
        yield fit(f"network {snapshot.network.fingerprint}{_recalled(snapshot.network.recalled_seconds_ago)}")
    if snapshot.reload.ok is False:
        first = snapshot.reload.problems[0].partition("\n")[0]
        yield click.style(fit(f"reload{_ago(snapshot.reload.seconds_ago)} changed nothing: {first}"), fg="red")


def _is_usable(route: RouteView) -> bool:
    return route.circuit != "open" and not route.draining and route.absent is None


def _recalled(seconds: float | None) -> str:
    return ", not known before" if seconds is None else f", known before: recalled{_ago(seconds)}"


def _changed(seconds: float | None) -> str:
    return "" if seconds is None else f", changed{_ago(seconds)}"


def _routes(routes: tuple[RouteView, ...]) -> Iterator[str]:
    rows = [
        (
            route.name,
            _state(route),
            str(route.tunnels),
            byte_count(route.bytes_in),
            byte_count(route.bytes_out),
            str(route.attempts),
            str(route.failures),
        )
        for route in routes
    ]
    head, *lines = table(ROUTE_COLUMNS, rows)
    yield head
    for line, route in zip(lines, routes, strict=True):
        yield line if _is_usable(route) else click.style(line, fg="red")
        if route.description != route.name or route.names != "system":  # as those of `direct` are
            yield fit(f"  {route.description}, names: {route.names}")
        if route.absent is not None:
            yield fit(f"  {route.absent}")
        for known in route.registries:
            yield fit(f"  {known.registry}: {duration(known.expected_seconds)} expected, {known.reason}")
        if route.last_error is not None:
            yield fit(f"  last error{_ago(route.last_error_seconds_ago)}: {route.last_error}")


def _state(route: RouteView) -> str:
    """The circuit, or how far the route has been left: `drained` once it can be taken away."""
    if not route.draining:
        return route.circuit
    return "draining" if route.tunnels else "drained"


def _ago(seconds: float | None) -> str:
    return "" if seconds is None else f" {duration(seconds)} ago"


def _tunnels(tunnels: tuple[TunnelView, ...]) -> Iterator[str]:
    if not tunnels:
        return
    shown = sorted(tunnels, key=lambda tunnel: tunnel.idle_seconds)[:MAX_TUNNELS]
    rows = [
        (
            tunnel.target.removesuffix(":443"),
            tunnel.registry,
            tunnel.route or "-",
            tunnel.phase,
            byte_count(tunnel.bytes_in),
            duration(tunnel.age_seconds),
            duration(tunnel.idle_seconds),
        )
        for tunnel in shown
    ]
    yield from table(TUNNEL_COLUMNS, rows)
    if rest := len(tunnels) - len(shown):
        yield f"and {rest} more, idle for longer (towline status --json has all)"


def _totals(snapshot: Snapshot) -> Iterator[str]:
    totals = snapshot.totals
    yield fit(
        f"since the start: {_count(totals.tunnels, 'tunnel')}, "
        f"{byte_count(totals.bytes_in)} received, {byte_count(totals.bytes_out)} sent"
    )
    yield fit(_probes(snapshot.probes))
    yield fit(f"failovers: {_counts(totals.failovers)}")
    yield fit(f"refused: {_counts(totals.refused)}")


def _probes(probes: ProbesView) -> str:
    if not probes.limit:
        return "probes: off"
    spent = f"{byte_count(probes.bytes_last_hour)} of {byte_count(probes.limit)} in the last hour"
    return f"probes: {probes.count}, {probes.failed} failed, {spent}"


def _counts(counts: Mapping[str, int]) -> str:
    """`3 connect, 1 release`, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered if count) or "none"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
