"""Health by example: what dials, answers, cuts, bytes and probes teach, and what a change of the network leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from towline.core.circuit import OPEN_AFTER, Circuit
from towline.core.evidence import Carried, Finding
from towline.core.health import (
    BULK,
    KEPT,
    MEMORY,
    MISLEADING,
    PROBE_WEIGHT,
    RESUMING,
    SHAKEN,
    TRIES_HALF_LIFE,
    Health,
    Tries,
)
from towline.types import Blame, Role, Target

TARGET = Target("registry.test", 443)
MB = 1e6  # bytes


def found(
    *,
    ok: bool = True,
    dial: float | None = None,
    first_byte: float | None = None,
    carried: Carried | None = None,
    role: Role = Role.API,
) -> Finding:
    """What a probe found."""
    return Finding("vpn", TARGET, "hub", role, ok, "refused", Blame.ROUTE, dial, first_byte, carried)


def failing(times: int) -> Health:
    """A health whose last attempts failed at 0."""
    health = Health()
    for _ in range(times):
        health.failed("refused", now=0.0)
    return health


def test_nothing_known() -> None:
    """Without evidence nothing is measured and the circuit is closed."""
    health = Health()
    assert health.measured_at() is None
    assert health.circuit(now=5.0) is Circuit.CLOSED
    assert health.tries.counts(now=5.0) == (0.0, 0.0)


def test_dial_alone_is_no_success() -> None:
    """An established dial is measured, and the streak goes on: many a bad network lets that through and no more."""
    health = failing(OPEN_AFTER)
    health.dialed(0.1, now=1.0)
    assert health.circuit(now=1.0) is Circuit.OPEN
    assert health.dial.value == pytest.approx(0.1)
    assert (health.attempts, health.tries.counts(now=1.0)[0]) == (OPEN_AFTER + 1, 0.0)


def test_answer() -> None:
    """An answer is a success, ends the streak, and is measured where it was timed."""
    health = failing(OPEN_AFTER)
    health.answered(None, now=0.0)
    assert (health.circuit(now=0.0), health.answer.value) == (Circuit.CLOSED, None)
    assert health.tries.counts(now=0.0) == (1.0, OPEN_AFTER)
    health.answered(0.2, now=2.0)
    assert health.answer.value == pytest.approx(0.2)
    assert health.measured_at() == 2.0


def test_failure() -> None:
    """A failure counts, is remembered in its words, and weighs what it is told to."""
    health = Health()
    health.failed("silent", now=0.0, weight=2)
    assert (health.streak.weight, health.failures, health.attempts, health.last_error) == (2, 1, 1, "silent")


def test_cut_undoes_the_answer() -> None:
    """A tunnel that was cut did not succeed, though it was answered; and the next answer does not close the circuit."""
    health = Health()
    for _ in range(2):
        health.answered(0.1, now=0.0)
        health.cut("upstream reset", now=0.0, weight=2)
    assert health.tries.counts(now=0.0) == (0.0, 2.0)
    health.answered(0.1, now=0.0)
    assert health.circuit(now=0.0) is Circuit.OPEN


def test_tries_fade_with_age_and_number() -> None:
    """Attempts weigh half after a half-life, and no more than MEMORY of them weigh at all."""
    tries = Tries()
    for _ in range(500):
        tries.add(ok=True, now=0.0)
    tries.add(ok=False, now=0.0)
    ok, bad = tries.counts(now=0.0)
    assert ok + bad == pytest.approx(MEMORY)
    assert bad == pytest.approx(1.0, rel=0.05)
    assert tries.counts(now=TRIES_HALF_LIFE) == pytest.approx((ok / 2, bad / 2))


def test_undone_success_of_long_ago() -> None:
    """There is never less than no success."""
    tries = Tries()
    tries.undo_success(now=5.0)
    assert tries.counts(now=5.0) == (0.0, 0.0)


def test_bulk() -> None:
    """Bytes over seconds are the rate, and a route that carried is well; one that was cut meanwhile is not."""
    health = failing(OPEN_AFTER)
    health.carried(Carried(8_000_000, 2.0), well=False, now=1.0)
    assert health.rate.value == pytest.approx(4e6)
    assert health.circuit(now=1.0) is Circuit.OPEN
    health.carried(Carried(8_000_000, 2.0), well=True, now=1.0)
    assert health.circuit(now=1.0) is Circuit.CLOSED


def test_nothing_carried() -> None:
    """Bytes in no time have no rate and prove nothing."""
    health = failing(OPEN_AFTER)
    health.carried(Carried(BULK, 0.0), well=True, now=1.0)
    assert (health.rate.value, health.circuit(now=1.0)) == (None, Circuit.OPEN)


def rated(rate: float, *, round_trip: float = 0.05) -> Health:
    """A route of a known rate."""
    health = Health()
    for turn in range(5):
        health.dialed(round_trip, now=float(turn))
        health.carried(Carried(round(10 * rate), 10.0), well=True, now=float(turn))
    return health


def test_few_bytes() -> None:
    """They tell a drop to a tenth at once, over a distant route as well: slow start is left out of what is told."""
    health = rated(5 * MB, round_trip=0.3)
    health.carried(Carried(65_536, 65_536 / (0.5 * MB)), well=True, now=6.0)
    assert health.rate.value == pytest.approx(0.5 * MB, rel=0.2)
    health.carried(Carried(65_536, 65_536 / (5 * MB)), well=True, now=12.0)
    assert health.rate.value == pytest.approx(5 * MB, rel=0.2)


def test_first_few_bytes() -> None:
    """Where nothing is known, few bytes are better than none."""
    health = Health()
    health.carried(Carried(65_536, 0.1), well=True, now=0.0)
    assert health.rate.value == pytest.approx(655_360)


def test_probe_that_went_well() -> None:
    """A probe's times and bytes are measured, its success counts in part, and the time of it is known."""
    health = failing(OPEN_AFTER)
    health.probed(found(dial=0.1, first_byte=0.2, carried=Carried(65_536, 0.5)), at_fault=False, now=0.0)
    assert health.dial.value == pytest.approx(0.1)
    assert health.answer.value == pytest.approx(0.2)
    assert health.rate.value == pytest.approx(131_072)
    assert (health.probed_at, health.circuit(now=0.0)) == (0.0, Circuit.CLOSED)
    assert health.probes.counts(now=0.0) == (PROBE_WEIGHT, 0.0)


@pytest.mark.parametrize("at_fault", [True, False])
def test_probe_that_failed(*, at_fault: bool) -> None:
    """A failed probe counts where its route is at fault."""
    health = Health()
    health.probed(found(ok=False), at_fault=at_fault, now=3.0)
    assert health.failures == int(at_fault)
    assert health.last_error == ("probe: refused" if at_fault else "")
    assert health.probed_at == 3.0


def test_probes_that_traffic_disproves() -> None:
    """After traffic has gone well twice over what probes called dead, they are disproved, until one goes well."""
    health = Health()
    for turn in range(MISLEADING):
        health.probed(found(ok=False), at_fault=True, now=float(turn))
        health.answered(0.1, now=float(turn))
    assert health.disproves_probes
    health.probed(found(first_byte=0.1), at_fault=False, now=11.0)
    assert not health.disproves_probes


def test_probe_that_was_not_timed() -> None:
    """A probe that went well ends a streak, also where nobody timed its answer."""
    health = failing(OPEN_AFTER)
    health.probed(found(), at_fault=False, now=1.0)
    assert (health.circuit(now=1.0), health.answer.value) == (Circuit.CLOSED, None)


def test_probe_that_reads_nothing() -> None:
    """A probe that is answered and reads nothing opens the circuit; what is heard since does not close it."""
    health = Health()
    health.probed(found(ok=False, first_byte=0.1, role=Role.BLOB), at_fault=True, now=0.0)
    assert (health.circuit(now=0.0), health.last_error) == (Circuit.OPEN, "probe: refused")
    health.probed(found(first_byte=0.1, role=Role.BLOB), at_fault=False, now=1.0)
    assert health.circuit(now=1.0) is Circuit.OPEN
    health.probed(found(first_byte=0.1, carried=Carried(262_144, 0.1)), at_fault=False, now=2.0)
    assert health.circuit(now=2.0) is Circuit.CLOSED


def test_traffic_that_disproves_a_reading() -> None:
    """A probe that read nothing is disproved by what traffic carries, not by what it hears."""
    health = Health()
    health.probed(found(ok=False, first_byte=0.1, role=Role.BLOB), at_fault=True, now=0.0)
    health.answered(0.1, now=1.0)
    assert health.misled == 0
    health.carried(Carried(8_000_000, 2.0), well=True, now=3.0)
    assert health.misled == 1


def test_probes_do_not_prolong_a_rest() -> None:
    """Probes that hear nothing open a circuit and leave it to traffic to try the route when its rest is over."""
    health = Health()
    for turn in range(OPEN_AFTER):
        health.probed(found(ok=False), at_fault=True, now=float(turn))
    before = health.streak.last_failure
    health.probed(found(ok=False), at_fault=True, now=4.0)
    assert (health.streak.last_failure, health.streak.weight) == (before, OPEN_AFTER)
    assert health.probes.failures == pytest.approx(OPEN_AFTER * PROBE_WEIGHT, rel=0.02), "an outage counts once"
    health.probed(found(ok=False), at_fault=True, now=600.0)
    assert health.streak.faded(now=600.0) == OPEN_AFTER, "they tell that it goes on"


def test_hearing_a_blob_host() -> None:
    """That a blob host answers brings no layer: a success it is when a part of a blob came."""
    health = Health()
    heard = replace(found(first_byte=0.1), role=Role.BLOB)
    health.probed(heard, at_fault=False, now=0.0)
    assert health.probes.successes == 0.0
    health.probed(replace(heard, carried=Carried(262_144, 0.1)), at_fault=False, now=0.0)
    assert health.probes.successes == PROBE_WEIGHT


def test_cost_of_failures() -> None:
    """What failures cost is the mean of the late ones that were timed, and the usual cost as one more of them."""
    health = Health()
    assert health.tries.cost(5.0) == 5.0
    health.failed("timeout", now=0.0, lost=1.0)
    health.failed("refused", now=0.0)
    assert health.tries.cost(5.0) == pytest.approx(3.0)
    health.cut("upstream reset", now=0.0, weight=2, lost=8.0)
    assert health.tries.cost(5.0) == pytest.approx((1.0 + 8.0 + RESUMING + 5.0) / 3)
    for _ in range(50):
        health.failed("timeout", now=0.0, lost=1.0)
    assert health.tries.cost(5.0) == pytest.approx(1.8, abs=0.01)


@pytest.mark.parametrize("cut", [True, False])
def test_failed_probe_that_traffic_confirms(*, cut: bool) -> None:
    """Traffic that fails after a probe did disproves nothing."""
    health = Health()
    health.probed(found(ok=False), at_fault=True, now=1.0)
    if cut:
        health.cut("upstream reset", now=2.0, weight=2)
    else:
        health.failed("refused", now=2.0)
    health.answered(0.1, now=3.0)
    assert health.misled == 0


def test_another_network() -> None:
    """After a change of the network what was measured is a guess, and what failed is forgiven."""
    health = failing(OPEN_AFTER)
    health.answered(0.2, now=0.0)
    before = health.answer.belief(now=0.0)
    health.on_another_network(now=0.0)
    after = health.answer.belief(now=0.0)
    assert before is not None
    assert after is not None
    assert (after.value, after.variance) == (before.value, before.variance + SHAKEN)
    assert health.tries.counts(now=0.0) == (KEPT, KEPT * OPEN_AFTER)
    assert health.circuit(now=0.0) is Circuit.CLOSED


def test_a_cut_heals_with_the_next_answer_where_answers_are_small() -> None:
    """A host that only ever says little is well when it answers; a blob host has to bring a layer for it."""
    small, large = Health(), Health()
    for health in (small, large):
        health.cut("reset", now=0.0, weight=OPEN_AFTER)
    small.answered(0.1, now=1.0, brings_layers=False)
    large.answered(0.1, now=1.0)
    assert small.circuit(now=1.0) is Circuit.CLOSED
    assert large.circuit(now=1.0) is Circuit.OPEN


@pytest.mark.parametrize("role", [Role.API, Role.AUTH])
def test_a_wrong_answer_to_a_probe_is_one_failure_where_answers_are_small(role: Role) -> None:
    """A 503 of an API is no blob that stands still: it opens no circuit, and the next good answer ends it."""
    health = Health()
    wrong = Finding("vpn", TARGET, "hub", role, ok=False, detail="503", blame=Blame.ROUTE, dial=0.1, first_byte=0.1)
    health.probed(wrong, at_fault=True, now=0.0)
    assert health.circuit(now=0.0) is Circuit.CLOSED
    assert health.streak.weight == 1
    health.probed(replace(wrong, ok=True, detail=""), at_fault=False, now=1.0)
    assert health.streak.weight == 0
