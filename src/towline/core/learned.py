"""All that was learned of this network: the health of every route for every role, and how much its tunnels move.

It is what a change of the network puts in doubt and what memory keeps (memory.py). The number of entries is bounded by
the routes of the configuration and the registries of the catalogue: unlisted hosts share one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from towline.core.choice import Choice
from towline.core.health import Health, Key
from towline.core.spread import Sharing
from towline.types import Ranking, Role

TYPICAL = {Role.API: 16_384.0, Role.AUTH: 8_192.0, Role.BLOB: 16_777_216.0, Role.UNKNOWN: 1_048_576.0}
"""Bytes that a tunnel is taken to bring until a registry's own are known: some manifests, a token, a middling layer."""
FACTOR = 16.0  # the learned size stays within so many times TYPICAL, so that one image of 20 GB does not decide for all
SIZE_GAIN = 1 / 16  # weight of a new tunnel in the mean


@dataclass(slots=True)
class Learned:
    """What was learned, keyed by (route, registry, role) and by (registry, role)."""

    health: dict[Key, Health] = field(default_factory=dict)
    sizes: dict[tuple[str, Role], float] = field(default_factory=dict)
    """Bytes that a tunnel brings, in the mean; completion time is linear in them."""
    choices: dict[tuple[str, Role], Choice] = field(default_factory=dict)
    """The route that each role of a registry takes at present."""
    explored_at: dict[str, float] = field(default_factory=dict)
    """When a tunnel of a registry last took another one to explore it."""
    sharing: dict[str, Sharing] = field(default_factory=dict)
    """How the layers of a registry share the routes; not kept, for it is of the present (spread.py)."""

    def of(self, route: str, registry: str, role: Role) -> Health:
        """The health of one route, to be written to."""
        key = route, registry, role
        if (health := self.health.get(key)) is None:
            health = self.health[key] = Health()
        return health

    def moved(self, registry: str, role: Role, size: int) -> None:
        """A tunnel has ended that brought so many bytes; one that brought none says nothing of size."""
        if size > 0:
            usual = TYPICAL[role]
            size_within = min(max(float(size), usual / FACTOR), usual * FACTOR)
            before = self.typical(registry, role)
            self.sizes[registry, role] = before + SIZE_GAIN * (size_within - before)

    def typical(self, registry: str, role: Role) -> float:
        """Bytes that a tunnel brings."""
        return self.sizes.get((registry, role), TYPICAL[role])

    def took(self, ranking: Ranking, *, now: float) -> None:
        """A tunnel is about to take the first route of a ranking, by choice or to explore it."""
        if ranking.choice is None:
            return
        kind = ranking.classification
        before = self.choices.get((kind.registry, kind.role)) or Choice(ranking.choice, now)
        self.choices[kind.registry, kind.role] = before.moved(ranking.choice, now=now)
        if ranking.candidates[0].route == ranking.choice:
            return
        if ranking.is_spread:
            self.shared(kind.registry).spread_at = now
        else:
            self.explored_at[kind.registry] = now

    def shared(self, registry: str) -> Sharing:
        """How the layers of a registry share the routes, to be written to."""
        if (sharing := self.sharing.get(registry)) is None:
            sharing = self.sharing[registry] = Sharing()
        return sharing

    def ended(self, tunnel: int, registry: str, route: str, size: int, *, now: float) -> None:
        """A tunnel to a blob host of a registry has ended (spread.py)."""
        api = self.choices.get((registry, Role.API))
        self.shared(registry).ended(tunnel, route, size, api=api.route if api else None, now=now)

    def family(self, registry: str, role: Role) -> list[str]:
        """The routes that the registry's other roles take at present."""
        return [one.route for (name, other), one in self.choices.items() if name == registry and other is not role]

    def disproves_probes(self, route: str, registry: str) -> bool:
        """Whether traffic went well over a route to any host of a registry where probes failed, more than once."""
        return any(one.disproves_probes for key, one in self.health.items() if key[:2] == (route, registry))

    def forget(self, routes: Collection[str]) -> None:
        """Under these names another way out is meant, or none."""
        for key in list(self.health):
            if key[0] in routes:
                del self.health[key]
        for name, choice in list(self.choices.items()):
            if choice.route in routes:
                del self.choices[name]
        for sharing in self.sharing.values():
            sharing.forget(routes)

    def recall(self, known: Learned) -> None:
        """This is a network that is known (memory.py): what was learned there takes the place of what is in doubt."""
        self.health.update(known.health)
        self.sizes.update(known.sizes)

    def on_another_network(self, routes: Collection[str] | None = None, *, now: float) -> None:
        """The network has changed for these routes (None: for all): what was measured is a guess now.

        A choice of a route that is not among them stands: a VPN that comes and goes all day unsettles nothing else.
        """

        def is_concerned(route: str) -> bool:
            return routes is None or route in routes

        for key, health in self.health.items():
            if is_concerned(key[0]):
                health.on_another_network(now=now)
        self.choices = {name: choice for name, choice in self.choices.items() if not is_concerned(choice.route)}
        for sharing in self.sharing.values():
            sharing.forget(sharing.routes if routes is None else routes)
