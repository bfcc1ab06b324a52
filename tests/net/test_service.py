"""The service as a whole: what it passes on to its parts."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path

import pytest
from tests.sharing import share

from towline.config import parse
from towline.core.evidence import Carried
from towline.core.poison import Mark
from towline.service import Service
from towline.types import Role, RouteSpec, Target

HOST = "registry-1.docker.io"
BLOBS = "production.cloudflare.docker.com"
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


@pytest.mark.parametrize(("spread", "first"), [("auto", "office"), ("off", "direct")])
async def test_parallel_layers_go_beside_each_other(spread: str, first: str) -> None:
    """Where two layers share what their route carries, the next takes another; `explain` and the log say why alike."""
    text = f"routes: {{direct: {{}}, office: {{proxy: 'http://127.0.0.1:9'}}}}\npolicy: {{spread: {spread}}}"
    service = Service(parse(text, place="towline.yaml", base=Path(), environ={}, discovered=()))
    target, now = Target(BLOBS, 443), asyncio.get_running_loop().time()
    learned = service._ledger.learned
    for age in (60, 45, 30, 15):
        for route in ("direct", "office"):
            health = learned.of(route, "dockerhub", Role.BLOB)
            health.dialed(0.05, now=now - age)
            health.answered(0.05, now=now - age)
            health.carried(Carried(8_000_000, 1.0 if route == "direct" else 1.2), well=True, now=now - age)
    share(learned.shared("dockerhub"), "direct", 8e6, now=now)
    explained = service.explain(BLOBS, 443)
    taken = service._serving.rank(target)
    service.close()
    assert taken.candidates[0].route == first
    assert explained["why"] == taken.why
    assert ("; spread: 2 tunnels share 8 MB/s of direct" in taken.why) is (spread == "auto")
