"""status.json as the values that it was made of.

The commands import it where they have an answer: the views alone take 15 ms, and the other commands start without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from towline.views import (
    NetworkView,
    ProbesView,
    ReloadView,
    RouteRegistryView,
    RouteView,
    Snapshot,
    Totals,
    TunnelView,
)


def parse_snapshot(answer: Mapping[str, Any]) -> Snapshot:
    """The whole, without the keys of a later version. Raises KeyError and TypeError."""
    routes = [
        _made(RouteView, route, registries=tuple(_made(RouteRegistryView, known) for known in route["registries"]))
        for route in answer["routes"]
    ]
    return _made(
        Snapshot,
        answer,
        listen=tuple(answer["listen"]),
        reload=parse_reload(answer["reload"]),
        routes=tuple(routes),
        tunnels=tuple(_made(TunnelView, tunnel) for tunnel in answer["tunnels"]),
        totals=_made(Totals, answer["totals"]),
        probes=_made(ProbesView, answer["probes"]),
        network=_made(NetworkView, answer["network"], ways_out=tuple(answer["network"]["ways_out"])),
    )


def parse_reload(answer: Mapping[str, Any]) -> ReloadView:
    """`reload` of status.json. Raises KeyError and TypeError."""
    return _made(ReloadView, {key: tuple(value) if isinstance(value, list) else value for key, value in answer.items()})


def _made[View: (NetworkView, ProbesView, ReloadView, RouteRegistryView, RouteView, Snapshot, Totals, TunnelView)](
    view: type[View], found: Mapping[str, Any], **parsed: object
) -> View:
    return view(**{field.name: found[field.name] for field in fields(view)} | parsed)
