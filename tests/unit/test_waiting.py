"""Connections that hold no tunnel: a new one is always let in, and the right one goes for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from towline.core.waiting import Waiting


def test_nobody_goes_while_there_is_room() -> None:
    """Up to the limit all may wait, and one that leaves makes room."""
    waiting: Waiting[int] = Waiting()
    assert [waiting.enter(number, "a", limit=3) for number in range(3)] == [None, None, None]
    waiting.leave(1)
    assert waiting.enter(3, "b", limit=3) is None
    assert len(waiting) == 3


def test_the_longest_waiting_of_the_most_numerous_client_goes() -> None:
    """One that floods loses its own places; another's only connection stays."""
    waiting: Waiting[str] = Waiting()
    waiting.enter("quiet", "a", limit=4)
    for name in ("first", "second", "third"):
        waiting.enter(name, "b", limit=4)
    assert waiting.enter("new", "c", limit=4) == "first"
    assert waiting.enter("newer", "c", limit=4) == "second"
    assert len(waiting) == 4


def test_entering_twice_and_leaving_twice() -> None:
    """One that is back keeps its place; one that has left may leave again."""
    waiting: Waiting[str] = Waiting()
    waiting.enter("one", "a", limit=2)
    waiting.enter("two", "a", limit=2)
    assert waiting.enter("one", "a", limit=2) is None
    waiting.leave("one")
    waiting.leave("one")
    assert len(waiting) == 1


def test_a_limit_of_nothing_lets_the_newest_in() -> None:
    """A process that is short of everything still hears one client at a time."""
    waiting: Waiting[str] = Waiting()
    assert waiting.enter("one", "a", limit=0) is None
    assert waiting.enter("two", "b", limit=0) == "one"


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from("abc"))), limit=st.integers(0, 5))
def test_it_never_holds_more_than_the_limit(steps: list[tuple[bool, int, str]], limit: int) -> None:
    """Whatever comes and goes: never more than the limit, one at least; who goes was waiting, and is not new."""
    waiting: Waiting[int] = Waiting()
    inside: set[int] = set()
    for comes, number, client in steps:
        if comes:
            goes = waiting.enter(number, client, limit=limit)
            assert goes != number
            assert goes is None or goes in inside
            inside = (inside - {goes}) | {number}
        else:
            waiting.leave(number)
            inside.discard(number)
        assert len(waiting) == len(inside) <= max(1, limit)
