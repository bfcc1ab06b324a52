"""The service as a whole: what it passes on to its parts."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from towline.config import parse
from towline.core.poison import Mark
from towline.service import Service

HOST = "registry-1.docker.io"
ADDRESS = ipaddress.ip_address("192.0.2.1")


async def test_a_change_of_the_network_clears_addresses_of_their_marks() -> None:
    """What answers in a host's place on one network is not there on the next."""
    service = Service(parse("{}", place="towline.yaml", base=Path(), environ={}, discovered=()))
    poison = service._verifying._poison
    poison.marked("direct", HOST, ADDRESS, Mark.WRONG_CERTIFICATE)
    poison.verified("vpn", HOST, None, now=0.0)
    assert poison.sound("direct", HOST, [ADDRESS], now=0.0) == []
    service.doubt()
    assert poison.sound("direct", HOST, [ADDRESS], now=0.0) == [ADDRESS]
    service.close()
