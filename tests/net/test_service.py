"""The service as a whole: what it passes on to its parts."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from towline.config import parse
from towline.core.poison import Mark
from towline.service import Service
from towline.types import RouteSpec, Target

HOST = "registry-1.docker.io"
ADDRESS = ipaddress.ip_address("192.0.2.1")


async def test_a_change_of_the_network_clears_addresses_of_their_marks() -> None:
    """What answers in a host's place on one network is not there on the next."""
    service = Service(parse("{}", place="towline.yaml", base=Path(), environ={}, discovered=()))
    poison = service._verifying._poison
    poison.marked("direct", HOST, ADDRESS, Mark.WRONG_CERTIFICATE)
    poison.verified("vpn", HOST, None, now=0.0)
    assert poison.sound("direct", HOST, [ADDRESS], now=0.0) == []
    service.doubt({"direct"})
    assert poison.sound("direct", HOST, [ADDRESS], now=0.0) == [ADDRESS]
    service.close()


async def test_a_drained_route_that_goes_comes_back_drained() -> None:
    """The interface of a VPN that is restarted: the operator has not resumed it."""
    vpn = RouteSpec("wg0", interface="wg0", origin="found: wg0")
    service = Service(parse("{}", place="towline.yaml", base=Path(), environ={}, discovered=(vpn,)))
    assert service.drain_route("wg0") is not None
    service.offer((), anew=False)
    assert service.drain_route("wg0") is None
    service.offer((vpn,), anew=False)
    ranking = service.rank(Target(HOST, 443))
    assert [one.route for one in ranking.candidates] == ["direct"]
    assert ranking.excluded == (("wg0", "drained by the operator"),)
    service.close()
