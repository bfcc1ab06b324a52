"""What was learned of a network, as plain data that outlives the process, and back.

    remembered(learned, now)     JSON-ready, with ages in seconds instead of times: the next process has another clock
    recalled(data, elapsed, now) the same, so many seconds later; None where the data is of another version or broken

Levels, shares of success and typical sizes are kept. Failures in a row, circuits and choices are not: they say how a
route was at one moment, and the first dial of the next process finds that out at once. What is older than OLDEST, and
of the rest what is beyond MOST entries, is left out, the oldest first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from towline.core.health import Health, Key, Tries
from towline.core.learned import FACTOR, TYPICAL, Learned
from towline.core.level import MAX_SPREAD, MAX_VARIANCE, MIN_SPREAD, Level
from towline.types import Role

VERSION = 1
OLDEST = 14 * 86_400.0  # seconds: two weeks; by then certainty has faded to a factor of e to the 13, which is none
MOST = 512  # entries: some 200 KB. Eight routes to twenty registries with three roles are 480
LEVELS = ("dial", "answer", "rate")


def remembered(learned: Learned, *, now: float) -> dict[str, Any]:
    """What is worth keeping of what was learned."""
    ages = {key: now - at for key, health in learned.health.items() if (at := health.measured_at()) is not None}
    kept = sorted((key for key in ages if ages[key] <= OLDEST), key=lambda key: ages[key])[:MOST]
    return {
        "version": VERSION,
        "health": [_health_out(key, learned.health[key], now) for key in kept],
        "sizes": [
            {"registry": registry, "role": role.value, "bytes": round(size)}
            for (registry, role), size in list(learned.sizes.items())[:MOST]
        ],
    }


def recalled(data: object, *, elapsed: float, now: float) -> Learned | None:
    """What was kept, `elapsed` seconds after it was: None where it cannot be read, whatever is wrong with it."""
    try:
        if not isinstance(data, Mapping) or data["version"] != VERSION:
            return None
        later = max(0.0, elapsed)  # a wall clock that was set back makes nothing younger than it was
        health = dict(_health_in(entry, later, now) for entry in data["health"][:MOST])
        sizes = dict(_size_in(entry) for entry in data["sizes"][:MOST])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return Learned(health, sizes)


def _health_out(key: Key, health: Health, now: float) -> dict[str, Any]:
    route, registry, role = key
    levels = {name: _level_out(getattr(health, name), now) for name in LEVELS}
    return {
        "route": route,
        "registry": registry,
        "role": role.value,
        "successes": round(health.tries.successes, 3),
        "failures": round(health.tries.failures, 3),
        "tried": round(now - health.tries.at, 1),
        **{name: level for name, level in levels.items() if level is not None},
    }


def _level_out(level: Level, now: float) -> dict[str, float] | None:
    if level.measured_at is None:
        return None
    return {
        "value": math.exp(level.log),
        "variance": round(level.variance, 6),
        "spread": round(level.spread, 6),
        "age": round(now - level.measured_at, 1),
    }


def _health_in(entry: Mapping[str, Any], later: float, now: float) -> tuple[Key, Health]:
    health = Health()
    for name in LEVELS:
        if name in entry:
            _level_in(getattr(health, name), entry[name], later, now)
    tried = now - _number(entry["tried"], 0.0) - later
    health.tries = Tries(_number(entry["successes"], 0.0), _number(entry["failures"], 0.0), tried)
    return (_text(entry["route"]), _text(entry["registry"]), Role(entry["role"])), health


def _level_in(level: Level, entry: Mapping[str, Any], later: float, now: float) -> None:
    level.log = math.log(_number(entry["value"], 1e-9))
    level.variance = _number(entry["variance"], 0.0, MAX_VARIANCE)
    level.spread = _number(entry["spread"], MIN_SPREAD, MAX_SPREAD)
    level.measured_at = now - _number(entry["age"], 0.0) - later


def _size_in(entry: Mapping[str, Any]) -> tuple[tuple[str, Role], float]:
    role = Role(entry["role"])
    size = _number(entry["bytes"], TYPICAL[role] / FACTOR - 1, TYPICAL[role] * FACTOR + 1)
    return (_text(entry["registry"]), role), size


def _number(value: object, least: float, most: float = 1e15) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{value!r} is no number from {least} to {most}")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no name")  # noqa: TRY004 - of the data, whatever is wrong with it
    return value
