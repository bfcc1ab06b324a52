"""The rules of the race, held against any order of events."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from towline.core.policy import FailoverPolicy
from towline.core.race import LAST_WORD, Cancel, Command, Dial, Finish, Race, Wake
from towline.types import Blame, Candidate, Outcome, OutcomeKind, Phase

DELAYS = st.floats(0.1, 2.0)
BUDGETS = st.floats(0.5, 60.0)


def candidates_with(delays: list[float]) -> list[Candidate]:
    """One candidate per pause, named by its place."""
    return [Candidate(f"route{place}", 0.0, "", delay) for place, delay in enumerate(delays)]


def refusal(seconds: float) -> Outcome:
    """How a dial ends that fails."""
    return Outcome(OutcomeKind.REFUSED, Phase.CONNECT, Blame.TARGET, seconds, "refused")


class RaceMachine(RuleBasedStateMachine):
    """Plays the racer: performs commands, lets dials end in any order, and keeps the clock."""

    @initialize(delays=st.lists(DELAYS, min_size=1, max_size=6), max_parallel=st.integers(1, 4), budget=BUDGETS)
    def begin(self, delays: list[float], max_parallel: int, budget: float) -> None:
        """Begin a race of any size."""
        self.now = 1000.0
        self.max_parallel = max_parallel
        self.budget = budget
        self.candidates = candidates_with(delays)
        self.race = Race(self.candidates, FailoverPolicy(max_parallel=max_parallel), budget=budget)
        self.dialled: list[str] = []
        self.open: dict[str, float] = {}  # route -> deadline of its dial
        self.reported: Counter[str] = Counter()
        self.wake_at = 0.0
        self.finishes: list[str | None] = []
        self.perform(self.race.begin(now=self.now))

    def perform(self, commands: list[Command]) -> None:
        """Do as commanded."""
        note(f"{self.now:.3f}: {commands}")
        assert not (self.finishes and commands), "nothing is commanded after Finish"
        for command in commands:
            match command:
                case Dial(route, deadline):
                    assert self.now < deadline <= self.race.deadline
                    assert self.now < self.race.deadline, "no dial begins at or after the deadline"
                    self.dialled.append(route)
                    self.open[route] = deadline
                case Cancel(route):
                    del self.open[route]
                case Wake(at):
                    assert self.now <= at <= self.race.deadline
                    self.wake_at = at
                case Finish(winner):
                    self.finishes.append(winner)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), part=st.floats(0, 1), established=st.booleans())
    def dial_ends(self, data: st.DataObject, part: float, established: bool) -> None:
        """A dial ends before the wake-up time."""
        route = data.draw(st.sampled_from(list(self.open)))
        self.now += part * max(0.0, min(self.wake_at, *self.open.values()) - self.now)
        waiting = len(self.dialled) < len(self.candidates)
        del self.open[route]
        self.reported[route] += 1
        if established:
            self.perform(self.race.established(route, now=self.now))
            assert self.finishes == [route], "the first to be established wins"
        else:
            before = len(self.dialled)
            self.perform(self.race.failed(route, refusal(0.0), now=self.now))
            if waiting and self.now < self.race.deadline - self.budget * 1.01 * LAST_WORD:
                assert len(self.dialled) == before + 1, "after a failure the next starts at once"

    @precondition(lambda self: not self.finishes)
    @rule()
    def wake(self) -> None:
        """The wake-up time comes."""
        self.now = max(self.now, self.wake_at)
        self.perform(self.race.woken(now=self.now))

    @precondition(lambda self: not self.finishes)
    @rule(part=st.floats(0, 1, exclude_max=True))
    def wake_early(self, part: float) -> None:
        """A wake-up that comes too early changes nothing."""
        earlier = self.now + part * (self.wake_at - self.now)
        if self.now <= earlier < self.wake_at:
            assert self.race.woken(now=earlier) == [Wake(self.wake_at)]
            self.now = earlier

    @precondition(lambda self: self.dialled)
    @rule(data=st.data(), established=st.booleans())
    def late_event(self, data: st.DataObject, established: bool) -> None:
        """An event of a dial that has ended already commands nothing."""
        ended = [route for route in self.dialled if route not in self.open]
        if ended:
            route = data.draw(st.sampled_from(ended))
            before = self.race.attempts
            if established:
                assert self.race.established(route, now=self.now) == []
            else:
                assert self.race.failed(route, refusal(0.0), now=self.now) == []
            assert self.race.attempts == before

    @invariant()
    def bounded(self) -> None:
        """Never more than max_parallel dials, each route at most once, in the order of the ranking."""
        assert len(self.open) <= self.max_parallel
        assert self.dialled == [candidate.route for candidate in self.candidates][: len(self.dialled)]

    @invariant()
    def one_end(self) -> None:
        """At most one Finish; it comes with nothing open, and it comes when nothing is open."""
        assert len(self.finishes) <= 1
        assert self.race.finished == bool(self.finishes)
        assert bool(self.finishes) == (not self.open)
        assert self.finishes or self.now < self.race.deadline

    @invariant()
    def one_outcome_each(self) -> None:
        """What was dialled and is no longer under way has exactly one outcome, and at most one of them is a success."""
        ended = [route for route in self.dialled if route not in self.open]
        assert [attempt.route for attempt in self.race.attempts] == ended
        winners = [attempt.route for attempt in self.race.attempts if attempt.outcome.ok]
        assert winners == [winner for winner in self.finishes if winner is not None]
        assert all(count == 1 for count in self.reported.values())


RaceMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)
TestRace = RaceMachine.TestCase


@given(st.lists(DELAYS, min_size=1, max_size=12), st.integers(1, 5), BUDGETS)
def test_every_route_gets_its_turn(delays: list[float], max_parallel: int, budget: float) -> None:
    """Where no route ever answers, each is dialled before the deadline and told its own timeout."""
    candidates = candidates_with(delays)
    race = Race(candidates, FailoverPolicy(max_parallel=max_parallel), budget=budget)
    now, wake_at = 0.0, 0.0
    deadlines: dict[str, float] = {}
    commands = race.begin(now=now)
    while not race.finished:
        for command in commands:
            match command:
                case Dial(route, deadline):
                    deadlines[route] = deadline
                case Wake(at):
                    wake_at = at
        route, deadline = min(deadlines.items(), key=lambda item: item[1])
        now = min(wake_at, deadline)
        if deadline <= wake_at:
            del deadlines[route]
            commands = race.failed(route, refusal(0.0), now=now)
        else:
            commands = race.woken(now=now)
    assert [attempt.route for attempt in race.attempts] == [candidate.route for candidate in candidates]
    assert now < race.deadline
