"""A tunnel that has lost its way out is released when its client can bear it, and somewhere leads out."""

from __future__ import annotations

import math

from towline.core.policy import StallPolicy
from towline.core.stall import BULK, Cause, Release, Watch
from towline.core.stranded import Stranded
from towline.types import Role

POLICY = StallPolicy()
GONE = "the interface that it left by is gone"


def looked(*, bytes_in: int, last_in: float, last_out: float, bytes_out: int = 600) -> Watch:
    """A watch that has looked at these counters at 100.0."""
    watch = Watch("vpn", Role.BLOB, POLICY)
    watch.look(now=100.0, bytes_in=bytes_in, bytes_out=bytes_out, last_in=last_in, last_out=last_out, queued_in=0)
    return watch


def test_in_the_middle_of_an_answer_at_once() -> None:
    """Nothing more comes, so there is nothing to wait for."""
    watch = looked(bytes_in=4 * BULK, last_in=99.9, last_out=90.0)
    release = Stranded(GONE, "direct").step(watch, silence=0.1)
    assert release == Release(Cause.GONE, "direct", 0.1, math.inf, GONE)


def test_while_the_first_request_waits_not_at_once() -> None:
    """Not every client repeats it, and the way out may be back in time."""
    watch = looked(bytes_in=3000, last_in=90.0, last_out=91.0)
    stranded = Stranded(GONE, "direct")
    assert stranded.step(watch, silence=POLICY.dead_api_after - 0.1) is None
    assert stranded.step(watch, silence=POLICY.dead_api_after) is not None


def test_where_no_route_leads_out_never() -> None:
    """The same address may be back, and the connection with it."""
    watch = looked(bytes_in=4 * BULK, last_in=10.0, last_out=9.0)
    assert Stranded(GONE, None).step(watch, silence=90.0) is None
