"""A Running that stands still, for the tests of the admin side and of the commands that ask it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from http import HTTPStatus

from towline.errors import Refused
from towline.types import Secret, Target
from towline.views import (
    FindingView,
    ProbedView,
    ProbesView,
    ReloadView,
    RouteRegistryView,
    RouteView,
    Snapshot,
    SteeredView,
    Totals,
    TunnelView,
)

TOKEN = Secret("0123456789abcdefABCDEF-._~+/0123")

SNAPSHOT = Snapshot(
    version="1.2.3",
    pid=4711,
    ready=True,
    draining=False,
    uptime_seconds=7384.0,
    listen=("127.0.0.1:3128", "[::1]:3128"),
    reload=ReloadView(),
    routes=(
        RouteView(
            name="direct",
            description="direct",
            names="system",
            circuit="closed",
            draining=False,
            tunnels=1,
            bytes_in=1_288_490_189,
            bytes_out=3_565_158,
            attempts=120,
            failures=3,
            last_error="timeout 3.0 s",
            last_error_seconds_ago=300.0,
            registries=(RouteRegistryView("dockerhub", None, None, None, 0.214, "dials in 214 ms", None),),
        ),
        RouteView(
            name="vpn",
            description="direct by interface wg0",
            names="udp://192.0.2.53",
            circuit="open",
            draining=False,
            tunnels=0,
            bytes_in=0,
            bytes_out=0,
            attempts=10,
            failures=10,
            last_error=None,
            last_error_seconds_ago=None,
        ),
    ),
    tunnels=(
        TunnelView(
            id=17,
            client="127.0.0.1:50312",
            target="docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com:443",
            registry="dockerhub",
            role="blob",
            route="direct",
            phase="relaying",
            bytes_in=327_155_712,
            bytes_out=2048,
            age_seconds=12.4,
            idle_seconds=0.1,
        ),
        TunnelView(
            id=18,
            client="127.0.0.1:50313",
            target="registry.example:5000",
            registry="unlisted",
            role="unknown",
            route=None,
            phase="racing",
            bytes_in=0,
            bytes_out=0,
            age_seconds=0.3,
            idle_seconds=0.3,
        ),
    ),
    totals=Totals(
        tunnels=1234,
        refused={"port": 1, "private": 4},
        failovers={"connect": 12, "first_flight": 0, "release": 0},
        bytes_in=1_288_490_189,
        bytes_out=3_565_158,
    ),
    probes=ProbesView(count=42, failed=3, bytes_last_hour=5_242_880, limit=67_108_864),
)

EXPLAINED: dict[str, object] = {
    "target": "ghcr.io:443",
    "registry": "ghcr",
    "role": "api",
    "rule": "ghcr.io",
    "why": "vpn: dials in 80 ms",
    "refused": None,
    "candidates": [
        {
            "route": "vpn",
            "description": "direct by interface wg0",
            "names": "udp://192.0.2.53",
            "expected_seconds": 0.08,
            "reason": "dials in 80 ms",
        },
        {
            "route": "direct",
            "description": "direct",
            "names": "system",
            "expected_seconds": 5.2,
            "reason": "failed 3 s ago (reset)",
        },
    ],
    "excluded": [{"route": "office", "reason": "disabled in the configuration"}],
}


PROBED = ProbedView(
    target="ghcr.io:443",
    registry="ghcr",
    role="api",
    findings=(
        FindingView("vpn", "ghcr.io:443", "api", True, "answers as a registry (401)", 0.012, 0.0141, None, 5_800),
        FindingView("vpn", "blob.test:443", "blob", True, "a blob at 3.4 MB/s", 0.013, 0.015, 3_355_443.2, 280_000),
        FindingView("direct", "ghcr.io:443", "api", False, "timeout 5.0 s", None, None, None, 0),
    ),
    excluded=(("office", "disabled in the configuration"),),
)


@dataclass
class FakeRunning:
    """Shows the snapshot it holds, and explains every host with EXPLAINED under the target asked for."""

    shown: Snapshot = SNAPSHOT
    drained: list[str] = field(default_factory=list)
    """Routes that were drained and not resumed."""

    def snapshot(self) -> Snapshot:
        return self.shown

    def explain(self, host: str, port: int) -> dict[str, object]:
        return EXPLAINED | {"target": Target(host, port).authority}

    async def probe(self, host: str | None, port: int) -> list[ProbedView]:
        if host == "denied.test":
            raise Refused(HTTPStatus.FORBIDDEN, "unlisted", "towline: denied.test is no registry's host")
        return [] if host is None else [replace(PROBED, target=str(Target.parse(host, port)))]

    def drain_route(self, name: str) -> SteeredView | None:
        self.drained.append(name)
        return self._steered(name)

    def resume_route(self, name: str) -> SteeredView | None:
        self.drained.remove(name)
        return self._steered(name)

    def _steered(self, name: str) -> SteeredView | None:
        routes = tuple(replace(route, draining=route.name in self.drained) for route in self.shown.routes)
        self.shown = replace(self.shown, routes=routes)
        in_use = tuple(route.name for route in routes if not route.draining)
        return next((SteeredView(route, in_use) for route in routes if route.name == name), None)
