"""Direct: this machine's own network, by the interface, source address or mark that the route names.

resolve the name -> let the guard judge every address -> race the addresses (RFC 8305)
"""

from __future__ import annotations

from towline.net.addresses import Admit, admitted, connect_first
from towline.net.dialer import Dialed
from towline.net.edge import dialing
from towline.net.resolve import Resolver
from towline.types import Phase, RouteSpec, Target


class DirectDialer:
    """Opens connections straight to targets."""

    def __init__(self, spec: RouteSpec, *, resolver: Resolver, admit: Admit) -> None:
        self._spec = spec
        self._resolver = resolver
        self._admit = admit

    async def dial(self, target: Target, *, deadline: float) -> Dialed:
        """Connect to `target`; see Dialer. The name is resolved once, and what the guard saw is what is dialled."""
        async with dialing(deadline, to="target") as progress:
            found = await self._resolver.resolve(target.host, target.port, deadline=deadline)
            allowed = admitted(target, found, self._admit)
            progress.phase = Phase.CONNECT
            sock, endpoint = await connect_first(allowed, self._spec)
        return Dialed(sock, peer=str(endpoint), address=endpoint.ip)
