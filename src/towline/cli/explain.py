"""`towline explain`: which route a target would take now, and why, in the words of the log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from towline.admin.text import escape
from towline.cli.ask import ask, reading
from towline.cli.configuration import admin_side, asking_options
from towline.types import Address, Target, TargetError

HTTPS = 443  # the port of a registry that was asked about without one
MAX_LINE = 1024  # characters: a reason is the answer here and is not cut to the terminal's width


def parse_target(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Target | None:
    """HOST[:PORT] of a command line; None where it is left out. Raises click.BadParameter."""
    try:
        return None if text is None else Target.parse(text, HTTPS)
    except TargetError as error:
        raise click.BadParameter(f"{error} (as in registry-1.docker.io or ghcr.io:443)") from None


@click.command()
@click.argument("target", metavar="HOST[:PORT]", callback=parse_target)
@asking_options
def explain(target: Target, path: Path | None, admin: Address | None, *, as_json: bool) -> None:
    """Say which route a host would get, and why. Asks the running Towline; the port is 443 where none is given."""
    side = admin_side(path, admin)
    answer = ask(side, f"/api/v1/explain?{urlencode({'host': target.authority})}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    with reading(side.address):
        lines = [escape(line, MAX_LINE) for line in _lines(answer)]
    click.echo("\n".join(lines))


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    verdict = "refused" if answer["refused"] else "why"
    for key in ("target", "registry", "role", "rule", verdict):
        if answer[key]:
            yield f"{key:<9} {answer[key]}"
    if verdict == "why":
        yield from _routes(answer)


def _routes(answer: Mapping[str, Any]) -> Iterator[str]:
    names = [entry["route"] for entry in (*answer["candidates"], *answer["excluded"])]
    column = max(map(len, names), default=0)
    for place, candidate in enumerate(answer["candidates"], start=1):
        seconds = f"{candidate['expected_seconds']:.2f} s"
        yield f"{place:>2}. {candidate['route']:<{column}}  {seconds:>8}  {candidate['reason']}"
        if candidate["description"] != candidate["route"] or candidate["names"] != "system":  # as those of `direct` are
            yield f"{'':<{column + 16}}{candidate['description']}, names: {candidate['names']}"
    for route in answer["excluded"]:
        yield f"  - {route['route']:<{column}}  {'left out':>8}  {route['reason']}"
