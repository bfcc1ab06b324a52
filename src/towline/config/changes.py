"""What differs between two configurations: the one that serves and the one that takes its place.

A route is known by its name. One that is written otherwise counts as changed, down to its cost: its open tunnels were
made by what no longer stands in the file. What was learned of a route holds as long as its way out is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from towline.config import Config
from towline.types import RouteSpec

SETTINGS = ("listen", "registries", "policy", "access", "failover", "stall", "health", "limits", "log")
"""The sections beside `routes` that a reload applies."""
AT_START = ("admin", "admin_hosts", "admin_token_file", "state")
"""What is taken at the start, and a reload leaves as it is."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Routes by name, in the order of their configuration, and sections."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    forgotten: tuple[str, ...]
    """Removed, or another way out under the name: what was learned of it no longer holds."""
    settings: tuple[str, ...]
    """Sections beside `routes` that differ."""
    restart: tuple[str, ...]
    """Keys that differ and wait for a restart."""

    @property
    def left(self) -> tuple[str, ...]:
        """Routes whose open tunnels are of the past."""
        return (*self.removed, *self.changed)


def compare(before: Config, after: Config) -> Changes:
    """What `after` changes."""
    old, new = _by_name(before.routes), _by_name(after.routes)
    both = [name for name in new if name in old]
    return Changes(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(name for name in both if old[name] != new[name]),
        kept=tuple(name for name in both if old[name] == new[name]),
        forgotten=tuple(name for name in old if name not in new or _way_out(old[name]) != _way_out(new[name])),
        settings=tuple(key for key in SETTINGS if getattr(before, key) != getattr(after, key)),
        restart=tuple(key for key in AT_START if getattr(before, key) != getattr(after, key)),
    )


def _by_name(specs: Iterable[RouteSpec]) -> dict[str, RouteSpec]:
    return {spec.name: spec for spec in specs}


def _way_out(spec: RouteSpec) -> RouteSpec:
    """The route without what the operator thinks of it."""
    return replace(spec, cost=0.0, registries=None, disabled=False, origin="")
