"""SOCKS 5 proxies: `socks5` resolves names here, `socks5h` leaves them to the proxy.

    socks5     resolve the target -> let the guard judge every address -> ask the proxy for one after the other
    socks5h    ask the proxy for the name; what it resolves to, no guard of ours sees (core/guard.py judges the name)

python-socks was looked at and not taken (3.2): its public API connects by itself, so that interface, source and mark
could not apply, and tells a wrong password from a garbled reply in its message texts alone.
"""

from __future__ import annotations

from towline.errors import ConfigError, DialError, Problem
from towline.net.addresses import Admit, admitted, check_literal
from towline.net.dialer import Dialed
from towline.net.edge import Progress, dialing
from towline.net.hop import connect_to_proxy, converse, proxy_of
from towline.net.resolve import Resolver
from towline.net.socks5 import MAX_FIELD, Credentials, socks5_exchange
from towline.types import OutcomeKind, Phase, RouteKind, RouteSpec, Target

MAX_ADDRESSES = 3
"""Addresses of a target that a `socks5` proxy is asked for in turn: each costs a connection to the proxy."""

_OTHER_ADDRESS_MAY_DO = {OutcomeKind.REFUSED, OutcomeKind.UNREACHABLE, OutcomeKind.PROXY_REFUSED}


class SocksDialer:
    """Opens connections to targets through a SOCKS 5 proxy."""

    def __init__(self, spec: RouteSpec, *, resolver: Resolver, admit: Admit, proxies: Resolver | None = None) -> None:
        """`proxies` finds the proxy itself, where `resolver` asks a DNS server that is reached through it.

        Raises ConfigError for a user name or password that SOCKS cannot carry.
        """
        proxy_of(spec)
        self._spec = spec
        self._resolver = resolver
        self._proxies = proxies or resolver
        self._admit = admit
        self._credentials = _credentials(spec)

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Reach `target` through the proxy; see Dialer."""
        hosts = await self._hosts(target, deadline=deadline)
        async with dialing(deadline, to="proxy") as progress:
            while True:
                host = hosts.pop(0)
                try:
                    dialed = await self._ask(host, target.port, progress, deadline=deadline)
                    break
                except DialError as error:
                    if not hosts or error.phase is not Phase.PROXY or error.kind not in _OTHER_ADDRESS_MAY_DO:
                        raise
        return dialed

    async def _hosts(self, target: Target, *, deadline: float) -> list[str]:
        """What to ask the proxy for: the name itself, or the addresses that the guard lets pass."""
        if self._spec.kind is RouteKind.SOCKS5H:
            check_literal(target, self._admit)
            return [target.host]
        async with dialing(deadline, to="target"):
            found = await self._resolver.resolve(target.host, target.port, deadline=deadline)
        return [str(endpoint.ip) for endpoint in admitted(target, found, self._admit)[:MAX_ADDRESSES]]

    async def _ask(self, host: str, port: int, progress: Progress, *, deadline: float) -> Dialed:
        sock, endpoint = await connect_to_proxy(self._spec, self._proxies, progress, deadline=deadline)
        try:
            progress.phase = Phase.PROXY
            early = await converse(sock, socks5_exchange(host, port, self._credentials))
        except BaseException:
            sock.close()
            raise
        return Dialed(sock, peer=str(endpoint), early=early, address=Target(host, port).ip)


def _credentials(spec: RouteSpec) -> Credentials | None:
    if spec.username is None:
        return None
    password = spec.password.reveal() if spec.password is not None else ""
    credentials = Credentials(spec.username.encode(), password.encode())
    if any(len(field) > MAX_FIELD for field in credentials):
        message = f"user name or password longer than {MAX_FIELD} bytes, which SOCKS 5 cannot carry (RFC 1929)"
        raise ConfigError([Problem(place=f"route {spec.name}", key="username", message=message)])
    return credentials
