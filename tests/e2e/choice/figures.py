"""What came of a measurement, as figures and in words.

Right is what the links make so (links.py), not what Towline thinks. A switch is a tunnel of a role that takes another
route than the one before it. A tunnel that Towline says it tried another route with is none, and does not make a pull
wrong; in the share of tunnels that were right it counts as what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tests.e2e.choice.links import SHAPES
from tests.e2e.choice.visits import Pull, Visit

RIGHT = {"api": "quick", "auth": "quick", "blob": "wide"}
TEN = 10  # times worse is a degraded route
TOLD = 10  # things of a kind that are told one by one


class Change(NamedTuple):
    """How a best route gets worse, and which is best then."""

    roles: tuple[str, ...]
    """For which it was the best, and is no longer."""
    link: str
    worse: dict[str, float]
    """For `Links.change`."""
    then: str


CHANGES = {
    "rate": Change(("blob",), "wide", {"megabits": SHAPES["wide"].megabits / TEN}, "quick"),
    "delay": Change(("api", "auth"), "quick", {"round_trip": SHAPES["quick"].round_trip * TEN}, "wide"),
}


@dataclass(slots=True)
class Choices:
    """What tunnels chose."""

    visits: Sequence[Visit]

    @property
    def wrong(self) -> list[Visit]:
        """Visits over a route that is not right for their role, or over none."""
        return [visit for visit in self.visits if visit.route != RIGHT[visit.role]]

    @property
    def share(self) -> float:
        """Of visits that were right, 0 to 1."""
        return 1 - len(self.wrong) / len(self.visits)

    def __str__(self) -> str:
        total = Counter(visit.role for visit in self.visits)
        wrong = Counter(visit.role for visit in self.wrong)
        roles = ", ".join(f"{role} {total[role] - wrong[role]}/{total[role]}" for role in RIGHT)
        head = f"{self.share:.1%} of {len(self.visits)} tunnels right ({roles})"
        return "\n  wrong: ".join([head, *map(str, self.wrong[:TOLD])])


@dataclass(slots=True)
class Followed:
    """How pulls followed a change: seconds until one began that was right and was followed by another."""

    seconds: float | None
    """None where none did in its time."""
    pulls: list[str]
    """Each pull, in words."""

    def within(self, seconds: float) -> bool:
        """Whether it took no longer."""
        return self.seconds is not None and self.seconds <= seconds

    def __str__(self) -> str:
        took = "not in its time" if self.seconds is None else f"after {self.seconds:.1f} s"
        return "\n  ".join([f"right {took}", *self.pulls])


@dataclass(slots=True)
class Turn:
    """What became of pulls when the best route got worse, and when it recovered."""

    worse: Followed
    better: Followed

    def __str__(self) -> str:
        return f"worse: {self.worse}\nwell again: {self.better}"


@dataclass(slots=True)
class Switches:
    """How often the route changed, and what became of the pulls."""

    seconds: float
    pulls: Sequence[Pull]
    visits: Sequence[Visit]

    @property
    def by_role(self) -> dict[str, int]:
        """Switches of each role."""
        return {role: len(self._of(role)) for role in RIGHT}

    @property
    def failed(self) -> list[Pull]:
        """Pulls that did not complete."""
        return [pull for pull in self.pulls if pull.problem]

    def _of(self, role: str) -> list[tuple[Visit, Visit]]:
        return moves(visit for visit in self.visits if visit.role == role)

    def __str__(self) -> str:
        counts = ", ".join(f"{role} {count}" for role, count in self.by_role.items())
        slowest = max(pull.seconds for pull in self.pulls)
        pulls = f"{len(self.pulls)} pulls, {len(self.failed)} failed, the slowest took {slowest:.1f} s"
        head = f"switches in {self.seconds:.0f} s: {counts}; {pulls}"
        failed = [f"failed: {pull.problem}" for pull in self.failed[:TOLD]]
        moved = [f"{one.route} -> {two}" for role in RIGHT for one, two in self._of(role)[:TOLD]]
        return "\n  ".join([head, *failed, *moved])


def moves(visits: Iterable[Visit]) -> list[tuple[Visit, Visit]]:
    """Visits that took another route than the one before, with that one; those that chose none are left out."""
    chosen = [visit for visit in visits if visit.route and not visit.tried]
    return [(one, two) for one, two in pairwise(chosen) if one.route != two.route]


def first_right(pulls: Sequence[Pull], right: Mapping[str, str]) -> Pull | None:
    """The first of two pulls in a row that are right, in the roles that `right` has a route for."""
    pairs = pairwise(pulls)
    return next((one for one, two in pairs if _is_right(one, right) and _is_right(two, right)), None)


def _is_right(pull: Pull, right: Mapping[str, str]) -> bool:
    chosen = [visit for visit in pull.visits if visit.role in right and not visit.tried]
    return all(visit.route == right[visit.role] for visit in chosen)
