"""Every kind of route that Towline has, as a user writes it, with the witness that sees whether it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.rig.upstreams import (
    DANTE_PORT,
    MICROSOCKS_PORT,
    PROXY_HOST,
    SQUID_PORT,
    SQUID_TLS_PORT,
    TINYPROXY_PORT,
    Upstreams,
)
from tests.e2e.rig.world import (
    DEFAULT_LINK,
    INTERFACE_LINK,
    MARK,
    MARK_LINK,
    PROXY_PASSWORD,
    PROXY_USER,
    SOURCE,
    SOURCE_LINK,
    World,
)


@dataclass(frozen=True, slots=True)
class RouteKind:
    """One kind of route: its name, its configuration, and who counts the connections that are made over it."""

    name: str
    settings: dict[str, Any]
    witness: str


def _by_proxy(name: str, url: str, **more: Any) -> RouteKind:
    account = {"username": PROXY_USER, "password_file": "proxy.secret"}
    return RouteKind(name, {"proxy": url, **account, **more}, name)


ROUTE_KINDS = (
    RouteKind("direct", {}, DEFAULT_LINK),
    RouteKind("source", {"source": SOURCE}, SOURCE_LINK),
    RouteKind("interface", {"interface": INTERFACE_LINK}, INTERFACE_LINK),
    RouteKind("mark", {"mark": MARK}, MARK_LINK),
    _by_proxy("squid", f"http://{PROXY_HOST}:{SQUID_PORT}"),
    _by_proxy("tinyproxy", f"http://{PROXY_HOST}:{TINYPROXY_PORT}"),
    _by_proxy("squid-tls", f"https://{PROXY_HOST}:{SQUID_TLS_PORT}", ca_file="ca.crt"),
    _by_proxy("dante", f"socks5h://{PROXY_HOST}:{DANTE_PORT}"),
    _by_proxy("microsocks", f"socks5://{PROXY_HOST}:{MICROSOCKS_PORT}"),
)
ROUTE = {kind.name: kind for kind in ROUTE_KINDS}


def lay_out(folder: Path, ca: Path) -> None:
    """Put the files that the routes name (password, CA) beside the configuration."""
    secret = folder / "proxy.secret"
    secret.write_text(f"{PROXY_PASSWORD}\n")
    secret.chmod(0o600)
    (folder / "ca.crt").write_bytes(ca.read_bytes())


class Witnesses:
    """What the links and the proxies themselves saw, since this was made."""

    def __init__(self, world: World, upstreams: Upstreams) -> None:
        self._world = world
        self._upstreams = upstreams
        self._before = self._all()

    def _all(self) -> dict[str, int]:
        return self._world.arrivals() | {name: count() for name, count in self._upstreams.witnesses.items()}

    def seen(self) -> dict[str, int]:
        """Connections by witness, those without any left out."""
        return {name: count - self._before[name] for name, count in self._all().items() if count > self._before[name]}
