"""What `towline explain --json` says of a host: enough to see why the first route is first."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.e2e.choice.stage import ROUTES, Stage
from tests.e2e.rig.registry import API_HOST, AUTH_HOST, BLOB_HOST
from tests.e2e.rig.towline import ADMIN_ADDRESS

EVIDENCE = {
    "dial_seconds": float,
    "first_byte_seconds": float,
    "rate_bytes_per_second": int,
    "typical_bytes": int,
    "failure": float,
    "circuit": str,
}
"""What an estimate is made of, and as what it is told."""
HOSTS = (API_HOST, AUTH_HOST, BLOB_HOST)
AGES = ("measured_seconds_ago", "probed_seconds_ago")


def explain(stage: Stage, host: str) -> dict[str, Any]:
    """The answer of the command, as a user would run it."""
    admin = "{}:{}".format(*ADMIN_ADDRESS)
    command = (sys.executable, "-m", "towline", "explain", host, "--json", "--admin", admin)
    answer: dict[str, Any] = json.loads(stage.near.run(*command))
    return answer


def missing(answer: dict[str, Any]) -> list[str]:
    """What the answer leaves open of: rule, registry, role, each route's estimate, its evidence and age, and why."""
    lacks = [key for key in ("rule", "registry", "role", "why") if not answer[key]]
    candidates = answer["candidates"]
    lacks += [f"route {route}" for route in ROUTES if route not in {candidate["route"] for candidate in candidates}]
    for candidate in candidates:
        lacks += [f"{candidate['route']}: {lack}" for lack in _missing(candidate)]
    if candidates and candidates[0]["route"] not in answer["why"] and candidates[0]["reason"] not in answer["why"]:
        lacks.append(f"what `why` has to do with {candidates[0]['route']}: {answer['why']}")
    seconds = [candidate["expected_seconds"] for candidate in candidates]
    if seconds != sorted(seconds) and "circuit" not in str(candidates):
        lacks.append(f"an order of {seconds}")
    return lacks


def _missing(candidate: dict[str, Any]) -> list[str]:
    evidence = candidate.get("evidence") or {}
    lacks = [key for key in ("expected_seconds", "reason") if not candidate.get(key)]
    lacks += [key for key, kind in EVIDENCE.items() if not isinstance(evidence.get(key), kind)]
    if all(evidence.get(age) is None for age in AGES):
        lacks.append(" or ".join(AGES))
    return lacks
