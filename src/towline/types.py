"""The vocabulary: frozen values that every layer speaks, and nothing that does anything.

Text becomes one of these values at the border (a CONNECT head, a YAML file) and is never parsed again.
Times are seconds as float, sizes are bytes as int, addresses are `(host, port)`.

    Target                    where a client wants to go
    Classification            what that host is: registry, role, and the rule that said so
    RouteSpec                 one configured way out of this machine
    Estimate                  what a route is expected to take, part by part, and how good the evidence is
    Candidate, Ranking        the routes for a target, best first, each with its reason
    Outcome, Attempt          how one dial ended
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from towline.atoms import Address as Address
from towline.atoms import IPAddress as IPAddress
from towline.atoms import IPNetwork as IPNetwork
from towline.atoms import NameServer as NameServer
from towline.atoms import Secret as Secret

MAX_HOST = 253  # octets of a host name in text form (RFC 1035 2.3.4, less the root label)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")  # RFC 1123 2.1, and `_`, which is seen in the field
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


class TargetError(ValueError):
    """A target that cannot be reached as written; the text says what is wrong and never echoes userinfo."""


@dataclass(frozen=True, slots=True)
class Target:
    """Host and port asked for by a client: `host` is a lower-case A-label name without final dot, or an IP literal."""

    host: str
    port: int

    @classmethod
    def parse(cls, authority: str, default_port: int | None = None) -> Target:
        """Read `host:port` as a CONNECT request-target has it (RFC 9110 9.3.6); `default_port` serves absolute-form.

        Strict on purpose: getaddrinfo takes `127.1`, `0x7f.1` and `2130706433` for 127.0.0.1, and int() takes digits of
        any script, so that a guard reading names would be walked around. Raises TargetError.
        """
        return _parsed(authority, default_port)

    @property
    def ip(self) -> IPAddress | None:
        """The address where the host is a literal, else None."""
        return literal(self.host)

    @property
    def authority(self) -> str:
        """`host:port` as CONNECT wants it, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.authority


@lru_cache(maxsize=1024)  # a pull names the same few hosts over and over
def _parsed(authority: str, default_port: int | None) -> Target:
    if not authority.isascii() or not authority.isprintable() or " " in authority:
        raise TargetError("the host is not plain ASCII (use the xn-- form of the name)")
    if "@" in authority:
        raise TargetError("user information is not allowed in a target")
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise TargetError("an IPv6 literal is written [address]:port")
        port_text = rest[1:] if rest else None
        return Target(_ipv6(host), _port(port_text, default_port))
    host, colon, port = authority.partition(":")
    return Target(_name_or_ipv4(host.lower()), _port(port if colon else None, default_port))


@lru_cache(maxsize=1024)
def literal(host: str) -> IPAddress | None:
    """The address that a host spells out, None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _port(text: str | None, default: int | None) -> int:
    if text is None:
        if default is None:
            raise TargetError("the target has no port")
        return default
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise TargetError("the port is not a number from 1 to 65535 without leading zeros")
    return int(text)


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise TargetError("the IPv6 literal is not valid") from None
    if address.scope_id is not None:
        raise TargetError("an IPv6 zone is not allowed in a target")
    return str(address)


def _name_or_ipv4(text: str) -> str:
    name = text.removesuffix(".")
    if not name:
        raise TargetError("the target has no host")
    if len(name) > MAX_HOST:
        raise TargetError(f"the host name is longer than {MAX_HOST} characters")
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetError("the host is not a valid name or address")
    # A last label that is a number in any base is an address, not a name (WHATWG URL, "ends in a number"): only the
    # canonical dotted quad passes.
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise TargetError("the IPv4 address is not in its canonical form") from None
    return name


class Role(StrEnum):
    """What a host does for its registry; a host that does several has the role with the tightest budget."""

    API = "api"
    AUTH = "auth"
    BLOB = "blob"
    UNKNOWN = "unknown"
    """An unlisted host."""


UNLISTED = "unlisted"
"""The registry of a host that no rule of the catalogue matches."""


@dataclass(frozen=True, slots=True)
class Classification:
    """What a target is, and which rule said so (`rule` is the matching host pattern, "" where none matched)."""

    registry: str
    role: Role
    rule: str
    reason: str


class RouteKind(StrEnum):
    """How a route leaves this machine."""

    DIRECT = "direct"
    HTTP = "http"
    HTTPS = "https"
    SOCKS5 = "socks5"
    SOCKS5H = "socks5h"


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One named way out of this machine, as configured or discovered."""

    name: str
    kind: RouteKind = RouteKind.DIRECT
    interface: str | None = None
    """Leave by this interface (SO_BINDTODEVICE). Applies to the connection to the proxy for proxy kinds."""
    source: IPAddress | None = None
    """Leave from this local address."""
    mark: int | None = None
    """Set this routing mark (SO_MARK), for `ip rule ... fwmark`."""
    proxy: Address | None = None
    """Host and port of the proxy; None for direct."""
    username: str | None = None
    password: Secret | None = None
    ca_file: str | None = None
    """CA bundle (path) that an HTTPS proxy's certificate is checked against; None means the system's."""
    cost: float = 0.0
    """Seconds added to this route's expected completion time: the operator's preference."""
    registries: tuple[str, ...] | None = None
    """Serve only these registries; None means all, () means none (it then serves unlisted targets alone)."""
    disabled: bool = False
    dns: NameServer | None = None
    """Whom this route's names are asked of, over this very route; None means the system."""
    origin: str = "configuration"
    """Where the route comes from: `configuration`, or what discovery found it in."""

    @property
    def names(self) -> str:
        """Where names are resolved: `system`, a name server's URL, or `remote`: at the proxy."""
        remote = self.kind in {RouteKind.HTTP, RouteKind.HTTPS, RouteKind.SOCKS5H}
        return "remote" if remote else str(self.dns or "system")

    def describe(self) -> str:
        """The route in one phrase, without secrets: `https proxy proxy.corp.example:3128 as ci`."""
        ways = [
            f"interface {self.interface}" if self.interface else "",
            f"source {self.source}" if self.source else "",
            f"mark {self.mark:#x}" if self.mark is not None else "",
        ]
        how = ", ".join(way for way in ways if way)
        if self.proxy is None:
            return f"direct by {how}" if how else "direct"
        host, port = self.proxy
        text = f"{self.kind} proxy {Target(host, port).authority}"
        if self.username:
            text += f" as {self.username}"
        return f"{text} by {how}" if how else text


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds that a typical transfer over a route is expected to take, what they are made of, and the evidence."""

    seconds: float
    deviation: float  # how far off `seconds` may well be
    noise: float  # how far the scatter of samples moves them
    dial: float
    first_byte: float  # from the first flight on
    rate: float  # bytes a second
    bytes: float  # what is typical to move
    failure: float  # probability that an attempt fails
    circuit: str
    age: float | None  # seconds since it was measured for this; None where all is borrowed
    probed: float | None  # seconds since a probe told of it last; None before the first
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that may serve a target: its expected seconds, why it stands where it stands, and its race pause."""

    route: str
    expected_seconds: float
    reason: str
    attempt_delay: float
    """Seconds to wait for this route before the next one is started beside it (RFC 8305 section 5)."""
    patience: float = 1.5
    """Seconds to wait for its answer to a first flight before the flight is replayed on the next one."""
    estimate: Estimate | None = None
    """What `expected_seconds` is made of."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Routes for one target, best first, and the ones left out with the reason why."""

    target: Target
    classification: Classification
    candidates: tuple[Candidate, ...]
    excluded: tuple[tuple[str, str], ...] = ()
    choice: str | None = None  # the route to stay with; another one stands first where it is explored
    is_spread: bool = False  # or where layers are spread

    @property
    def why(self) -> str:
        """The sentence that says why the first is first, or why there is none."""
        if self.candidates:
            first = self.candidates[0].route
            return f"{first}: {self.why_of(first)}"
        return "; ".join(f"{route}: {reason}" for route, reason in self.excluded) or "no route is configured"

    def why_of(self, route: str) -> str:
        """Why a candidate was used, and beside it the next best one with its reason: a choice is a comparison."""
        chosen = next(candidate for candidate in self.candidates if candidate.route == route)
        other = next((candidate for candidate in self.candidates if candidate.route != route), None)
        return chosen.reason if other is None else f"{chosen.reason}; {other.route}: {other.reason}"


class OutcomeKind(StrEnum):
    """What one dial ended in."""

    ESTABLISHED = "established"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    UNRESOLVED = "unresolved"
    POISONED = "poisoned"
    PROXY_REFUSED = "proxy refused"
    PROXY_AUTH = "proxy authentication"
    PROXY_PROTOCOL = "proxy protocol error"
    TLS = "tls error"
    NOT_TLS = "not tls"
    DENIED = "denied"
    LOCAL = "local error"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """How far a dial had come when it ended."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    PROXY = "proxy"
    FIRST_FLIGHT = "first flight"
    ESTABLISHED = "established"


class Blame(StrEnum):
    """Who is at fault: health counts only what is the route's."""

    NONE = "none"
    ROUTE = "route"
    TARGET = "target"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one dial ended; `detail` is a phrase for the reader (`refused`, `timeout 3.0 s`, `407 from proxy`)."""

    kind: OutcomeKind
    phase: Phase
    blame: Blame
    seconds: float
    detail: str

    @property
    def ok(self) -> bool:
        """True for an established dial."""
        return self.kind is OutcomeKind.ESTABLISHED


@dataclass(frozen=True, slots=True)
class Attempt:
    """One dial of a race: which route, when it began (seconds after the race began), and its single outcome."""

    route: str
    offset: float
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.route}: {self.outcome.detail}"


class TunnelPhase(StrEnum):
    """Where a tunnel is in its life."""

    RACING = "racing"
    FIRST_FLIGHT = "first flight"
    RELAYING = "relaying"
    ENDED = "ended"
