"""Which of many lines that say the same are logged."""

from __future__ import annotations

from towline.core.seldom import PAUSE, Seldom


def test_one_in_a_while_is_told_with_the_number_of_the_others() -> None:
    """The first at once, then one a pause; kinds do not hush each other."""
    seldom = Seldom()
    assert seldom.tell("tunnels", now=10.0) == 0
    assert [seldom.tell("tunnels", now=10.1), seldom.tell("tunnels", now=10.2)] == [None, None]
    assert seldom.tell("heads", now=10.3) == 0
    assert seldom.tell("tunnels", now=10.0 + PAUSE) == 2
    assert seldom.tell("tunnels", now=10.0 + 2 * PAUSE) == 0
