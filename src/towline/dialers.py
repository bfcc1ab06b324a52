"""The dialers of one configuration: one for every route that may be used, each with its way to names.

    direct, socks5          names are resolved here: by the system, or by the route's own DNS server, over the route
    http, https, socks5h    the proxy resolves them

Where a proxy or a DNS server is, the system says: nobody can be asked for the way to himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from towline.net.addresses import Admit
from towline.net.connect import ConnectDialer
from towline.net.dialer import Dialer
from towline.net.direct import DirectDialer
from towline.net.resolve import FixedResolver, Resolver, SoundResolver, literal
from towline.net.slots import SlottedDialer
from towline.net.socks import SocksDialer
from towline.types import IPAddress, RouteKind, RouteSpec

if TYPE_CHECKING:
    from towline.net.dns import DnsResolver, NameServer

type Sound = Callable[[str, str, int, Sequence[IPAddress]], Awaitable[Sequence[IPAddress]]]
"""Which addresses of a host, to be dialled over a route at a port, are not known to be poisoned (verifying.py)."""


class Dialers:
    """What one configuration dials with. `close()` when nothing is dialled any more."""

    def __init__(
        self,
        routes: Iterable[RouteSpec],
        *,
        system: Resolver,
        sound: Sound,
        admit: Admit,
        slots: asyncio.Semaphore,
    ) -> None:
        """`system` serves every configuration; `slots` are the dials that may be under way at once.

        Raises ConfigError for a CA bundle that cannot be read.
        """
        routes = tuple(routes)
        self.specs = {spec.name: spec for spec in routes}
        self._system = system
        self._sound = sound
        self._admit = admit
        self._slots = slots
        self._own: list[DnsResolver] = []
        self.by_route = {spec.name: self._dialer(spec) for spec in routes if not spec.disabled}

    def _dialer(self, spec: RouteSpec) -> Dialer:
        names = SoundResolver(self._names(spec), partial(self._sound, spec.name))
        return SlottedDialer(self._over(spec, names, self._admit), self._slots)

    def at(self, route: str, address: IPAddress) -> Dialer | None:
        """A dialer over the route that finds every target at this address; None where there is no such route."""
        if route not in self.by_route:
            return None
        return SlottedDialer(self._over(self.specs[route], FixedResolver(address), self._admit), self._slots)

    def _over(self, spec: RouteSpec, names: Resolver, admit: Admit) -> Dialer:
        """A dialer over the route of `spec` to what `names` resolves and `admit` lets pass."""
        match spec.kind:
            case RouteKind.DIRECT:
                return DirectDialer(spec, resolver=names, admit=admit)
            case RouteKind.HTTP | RouteKind.HTTPS:
                return ConnectDialer(spec, resolver=self._system, admit=admit)
            case RouteKind.SOCKS5 | RouteKind.SOCKS5H:
                return SocksDialer(spec, resolver=names, proxies=self._system, admit=admit)

    def _names(self, spec: RouteSpec) -> Resolver:
        """What resolves the names of targets for a route."""
        if spec.dns is None:
            return self._system
        # Here, since most configurations have no such route, and a start would take 70 ms longer (dnspython, httpcore).
        from towline.net.dns import DnsResolver
        from towline.net.dns_udp import UdpServer
        from towline.net.doh import HttpsServer

        server: NameServer
        if (address := literal(*spec.dns.address)) is not None and spec.dns.scheme == "udp":
            server = UdpServer(spec, address)
        else:  # the operator chose where it is, so no guard is asked: it may well be private
            server = HttpsServer(spec.dns, self._over(spec, self._system, lambda *_: None))
        resolver = DnsResolver(server, str(spec.dns))
        self._own.append(resolver)
        return resolver

    def forget(self) -> None:
        """The network has changed: names may have other addresses there."""
        for resolver in self._own:
            resolver.forget()

    def close(self) -> None:
        """End the lookups under way, and the connections to DNS servers."""
        for resolver in self._own:
            resolver.close()
