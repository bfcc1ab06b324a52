"""The frozen numbers that steer the decisions, each with its unit, its default and where the default comes from.

config.py fills them from YAML under the same names; `clients.md` is shared knowledge of how registry clients react.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from towline.types import IPNetwork, Role, Secret

LOOPBACK: tuple[IPNetwork, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """Which targets may be asked for, and how hosts that the catalogue does not know are treated."""

    unlisted: Literal["direct", "route", "deny"] = "direct"
    """Unlisted hosts go over the route named `direct`, over any route, or nowhere."""
    ports: frozenset[int] = frozenset({443, 80, 5000, 8443})
    """TCP ports that may be asked for: TLS, plain HTTP (insecure registries, OSS redirects), two registry habits."""
    private_targets: tuple[str, ...] = ()
    """Networks (`10.0.0.0/8`) and hosts (`corp.example`, `*.corp.example`) that may lead to private addresses."""
    spread: Literal["auto", "off"] = "auto"
    """Parallel layers take a second route where the first is shared and the second adds to it (core/spread.py)."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may use the proxy."""

    clients: tuple[IPNetwork, ...] = LOOPBACK
    """Networks that clients may come from."""
    users: Mapping[str, Secret] | None = None
    """Who may log in, and by which password's hash (core/users.py); None: nobody has to."""


@dataclass(frozen=True, slots=True)
class FailoverPolicy:
    """When the next route is tried, and how long a CONNECT may be held. All in seconds."""

    attempt_delay: float = 0.25
    """Pause before the next route is started beside a slow one, until dials were measured (RFC 8305 5: 250 ms)."""
    max_parallel: int = 3
    """Attempts of one race that may be under way at once."""
    dial_timeout: float = 10.0
    """Longest single dial. The race overlaps dials, so this ends hopeless ones and costs the client nothing."""
    budget_api: float = 5.0
    """A CONNECT to an api or auth host is answered by then: dockerd's ping and token calls end after 15 s in all."""
    budget_blob: float = 45.0
    """A CONNECT to a blob host is answered by then: Go gives up after 60 s."""
    budget_unlisted: float = 10.0
    """A CONNECT to an unlisted host is answered by then."""

    patience: float = 1.5
    """Wait for a route's answer to the first flight before it is replayed on the next, until answers were measured."""
    budget_flight: float = 9.0
    """A first flight is answered by then, over whichever route: Go's TLS timer ends 10 s after the 200."""

    def budget(self, role: Role) -> float:
        """Seconds that a CONNECT to a host of this role may be held."""
        if role is Role.BLOB:
            return self.budget_blob
        return self.budget_unlisted if role is Role.UNKNOWN else self.budget_api


@dataclass(frozen=True, slots=True)
class LimitsPolicy:
    """Bounds on what is held at once and for how long."""

    tunnels: int = 4096
    """Tunnels open at once; further requests get 503. This, heads and dials are lowered to what the descriptor limit
    allows."""
    tunnels_per_client: int = 1024
    """Of these from one client address: one that opens without end leaves room for others."""
    heads: int = 512
    """Connections that hold no tunnel, since their request is still to come or was refused; beyond, the one that has
    waited longest goes."""
    dials: int = 512
    """Dials under way at once, over all routes; others wait for their turn."""
    drain: float = 30.0
    """Seconds that open tunnels get to end after SIGTERM."""
    linger: float = 5.0
    """Seconds that a client gets to close after Towline sent it FIN, its bytes read and dropped meanwhile."""
    half_closed: float = 60.0
    """Seconds of silence after which a tunnel that one side has half-closed is ended."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """What may be spent on knowing how routes are."""

    probe_bytes: int = 64 * 1024 * 1024
    """Bytes an hour that probes may cost (core/probes.py); 0 is no probes."""


@dataclass(frozen=True, slots=True)
class StallPolicy:
    """When a tunnel that relays is suspected, and when it is released. Seconds of silence, unless said otherwise.

    A tunnel is silent while nothing moves on it and nothing is queued toward its client (core/stall.py).
    """

    suspect_after: float = 2.0
    """In the middle of an answer, or while a request waits for one: then a probe is asked for."""
    stuck_after: float = 8.0
    """In the middle of an answer over a route that is alive: then this connection alone is stuck (clients.md E: 10 to
    12 s without a probe; CRI-O 1.30 cancels the pull at 10 s)."""
    stuck_api_after: float = 20.0
    """The same at api and auth hosts: dockerd's classic store does not repeat their requests (clients.md 0 fact 6). At
    blob hosts it is what an answer may take that has hardly begun."""
    dead_api_after: float = 10.0
    """While a request waits for its answer over a dead route: not every client repeats it (clients.md A.7)."""
    trickle_rate: float = 20_000.0
    """Bytes a second below which an answer trickles: an hour for 72 MB (containerd#11650 tells of such hours)."""
    trickle_window: float = 20.0
    """Seconds over which that rate is taken (clients.md E: 20 to 30 s)."""
    trickle_factor: float = 4.0
    """How many times faster another route has to be for a trickle to be worth a release; our choice."""
