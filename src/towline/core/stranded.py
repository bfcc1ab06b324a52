"""A tunnel whose way out this machine has lost: the interface or the address that it leaves by is gone.

Nothing comes over it any more, so nothing has to be found out by probes, and its route is not at fault. When it is
released depends on what its client can bear, as over a dead route:

    in or after an answer                        at once
    while its first request waits for an answer  when that has taken long: not every client repeats it (clients.md A.7)
    where no route leads out of this machine     not at all: the same address may be back in a moment, as after a roam
                                                 from one access point to the next, and the connection with it
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from towline.core.stall import Cause, Release, Watch


@dataclass(frozen=True, slots=True)
class Stranded:
    """How a tunnel is stranded."""

    reason: str
    """What is gone."""
    refuge: str | None
    """The best route for its target that leads out now; None where none does."""

    def step(self, watch: Watch, *, silence: float) -> Release | None:
        """A release where it is time for it, after so many seconds of silence; `watch` has just looked."""
        if self.refuge is None or silence < watch.bears_release_after:
            return None
        return Release(Cause.GONE, self.refuge, silence, math.inf, self.reason)
