"""The ledger, frozen: what status.json, `towline status`, the page and the metrics show of one moment.

Field names are those of status.json, and stay: others rely on them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TunnelView:
    """One open tunnel as `status.json` shows it; bytes_in is upstream to client, bytes_out client to upstream."""

    id: int
    client: str
    target: str
    registry: str
    role: str
    route: str | None
    phase: str
    bytes_in: int
    bytes_out: int
    age_seconds: float
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class RoleView:
    """What is known about one route for one role of a registry; None where there is no evidence yet."""

    role: str
    success: float | None
    """Share of late attempts that did what they were for."""
    first_byte_seconds: float | None
    rate_bytes_per_second: float | None
    expected_seconds: float
    deviation_seconds: float
    """How far off `expected_seconds` may well be."""
    typical_bytes: int
    circuit: str
    reason: str
    measured_seconds_ago: float | None
    probed_seconds_ago: float | None


@dataclass(frozen=True, slots=True)
class RouteRegistryView:
    """The same over a registry's roles: seconds and reason are of the role that moves most, its blobs as a rule."""

    registry: str
    success: float | None
    first_byte_seconds: float | None
    rate_bytes_per_second: float | None
    expected_seconds: float
    reason: str
    probed_seconds_ago: float | None
    roles: tuple[RoleView, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route as `status.json` shows it."""

    name: str
    description: str
    names: str
    """Where its names are resolved: `system`, a DNS server's URL, or `remote`."""
    circuit: str
    draining: bool
    tunnels: int
    bytes_in: int
    bytes_out: int
    attempts: int
    failures: int
    last_error: str | None
    last_error_seconds_ago: float | None
    registries: tuple[RouteRegistryView, ...] = ()
    absent: str | None = None
    """Why it is not there now: its interface is gone."""


@dataclass(frozen=True, slots=True)
class NetworkView:
    """What this machine is connected to, as far as it is known."""

    ways_out: tuple[str, ...] = ()
    """How packets leave where no route says otherwise: `wlan0, gateway 192.0.2.1`; IPv4 before IPv6."""
    changed_seconds_ago: float | None = None
    """Since the last change that concerned a route, or the last sleep."""
    fingerprint: str | None = None
    """The name under which what is learned here is remembered; it says nothing to anybody else."""
    recalled_seconds_ago: float | None = None
    """Since what was learned here earlier was recalled; None where nothing was."""


@dataclass(frozen=True, slots=True)
class SteeredView:
    """A route that was drained or resumed, and what is left."""

    route: RouteView
    in_use: tuple[str, ...]
    """Routes that get new tunnels: neither drained nor disabled."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums since the start."""

    tunnels: int
    refused: dict[str, int]
    failovers: dict[str, int]
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class ProbesView:
    """What is asked of routes beside traffic, and what that costs."""

    count: int = 0
    """Since the start: one host over one route each."""
    failed: int = 0
    bytes_last_hour: int = 0
    limit: int = 0
    """Bytes an hour; 0 is no probes."""


@dataclass(frozen=True, slots=True)
class FindingView:
    """What a probe found of one host over one route; None where it did not come so far."""

    route: str
    target: str
    role: str
    ok: bool
    detail: str
    dial_seconds: float | None
    first_byte_seconds: float | None
    rate_bytes_per_second: float | None
    bytes: int
    """That it cost."""


@dataclass(frozen=True, slots=True)
class ProbedView:
    """What probes found that somebody asked for: of the host, and of the hosts that it sent to."""

    target: str
    registry: str
    role: str
    findings: tuple[FindingView, ...]
    excluded: tuple[tuple[str, str], ...]
    """Routes that may not serve it, and why."""


@dataclass(frozen=True, slots=True)
class ReloadView:
    """The last reload of the configuration, empty before the first."""

    count: int = 0
    """Reloads since the start, whatever came of them."""
    ok: bool | None = None
    """False where there were problems: then nothing was changed."""
    seconds_ago: float | None = None
    problems: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    """Routes, as in the next three."""
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """Sections of the configuration beside `routes` that changed."""
    restart: tuple[str, ...] = ()
    """Keys whose change needs a restart."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The ledger at one moment: the source of status.json, the page, the metrics and `towline status`."""

    version: str
    pid: int
    ready: bool
    draining: bool
    uptime_seconds: float
    listen: tuple[str, ...]
    reload: ReloadView
    routes: tuple[RouteView, ...]
    tunnels: tuple[TunnelView, ...]
    totals: Totals
    probes: ProbesView = ProbesView()
    network: NetworkView = NetworkView()
