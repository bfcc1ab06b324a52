"""What probes (probe.py) are told, and what they remember for each other; without httpx, which they ask with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from towline.core.answers import Link
from towline.core.probes import HEAR_COST, READ_COST
from towline.types import Classification, Target

type Name = tuple[Target, str]
"""A registry, and `library/alpine` or the like there, with a tag or without."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What is probed: a host, and where that is a registry's API, an image to read from (`library/alpine:latest`)."""

    target: Target
    classification: Classification
    image: str | None = None

    @property
    def most(self) -> int:
        """Bytes that it may cost."""
        return READ_COST if self.image else HEAR_COST


@dataclass(slots=True)
class PublicImages:
    """What probes remember of public images for the run; bounded by the routes and images that are configured."""

    layers: dict[Name, Link] = field(default_factory=dict)
    """Docker Hub counts the manifests that lead here as pulls; layers, by their digest, it does not."""
    tokens: dict[tuple[str, Name], tuple[str, float]] = field(default_factory=dict)
    """By route: the token, and until when it holds."""
    passed_over: dict[tuple[str, Name], float] = field(default_factory=dict)
    """By route: when it is tried again."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One route is read over at a time: several may leave by the same link, and would share its rate."""


class CrashedError(Exception):
    """A bug ended a probe, the cause of this, after so many bytes."""

    def __init__(self, spent: int) -> None:
        super().__init__(f"after {spent} bytes")
        self.spent = spent
