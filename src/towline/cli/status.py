"""`towline status`: what the running Towline is doing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from towline.cli.ask import ask, reading
from towline.cli.configuration import admin_side, asking_options
from towline.cli.status_text import status_text
from towline.types import Address
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


@click.command()
@asking_options
def status(path: Path | None, admin: Address | None, *, as_json: bool) -> None:
    """Show routes, tunnels and totals. Asks the running Towline."""
    side = admin_side(path, admin)
    answer = ask(side, "/api/v1/status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    with reading(side.address):
        snapshot = parse_snapshot(answer)
    click.echo(status_text(snapshot))


def parse_snapshot(answer: Mapping[str, Any]) -> Snapshot:
    """status.json as the value it was made of, without the keys of a later version. Raises KeyError and TypeError."""
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
    """`reload` of status.json as the value it was made of. Raises KeyError and TypeError."""
    return _made(ReloadView, {key: tuple(value) if isinstance(value, list) else value for key, value in answer.items()})


def _made[View: (NetworkView, ProbesView, ReloadView, RouteRegistryView, RouteView, Snapshot, Totals, TunnelView)](
    view: type[View], found: Mapping[str, Any], **parsed: object
) -> View:
    return view(**{field.name: found[field.name] for field in fields(view)} | parsed)
