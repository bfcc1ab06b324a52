from __future__ import annotations

import ipaddress

from towline.core.names import MAX_ANSWERS, MAX_TTL, Answer, Answers
from towline.types import IPAddress


def addresses(*texts: str) -> tuple[IPAddress, ...]:
    """These addresses."""
    return tuple(ipaddress.ip_address(text) for text in texts)


def test_an_answer_holds_for_its_time() -> None:
    """Until its last second it is known, and from then on asked for again."""
    answers = Answers()
    answers.learn("a.test", 4, Answer(addresses("192.0.2.1"), 60), now=100)

    assert answers.known("a.test", 4, now=159.9) == addresses("192.0.2.1")
    assert answers.known("a.test", 4, now=160) is None
    assert answers.known("a.test", 6, now=100) is None
    assert answers.known("b.test", 4, now=100) is None


def test_no_address_is_an_answer() -> None:
    """That a name has none is known for its time, and is not the same as not knowing."""
    answers = Answers()
    answers.learn("a.test", 6, Answer((), 30), now=0)

    assert answers.known("a.test", 6, now=29) == ()
    assert answers.known("a.test", 6, now=30) is None


def test_no_time_at_all_is_obeyed() -> None:
    """What does not hold a second is asked for each time."""
    answers = Answers()
    answers.learn("a.test", 4, Answer(addresses("192.0.2.1"), 0), now=0)

    assert answers.known("a.test", 4, now=0) is None


def test_no_answer_holds_for_days() -> None:
    """The longest time is bounded."""
    answers = Answers()
    answers.learn("a.test", 4, Answer(addresses("192.0.2.1"), 7 * 86400), now=0)

    assert answers.known("a.test", 4, now=MAX_TTL) is None


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    """Addresses change."""
    answers = Answers()
    answers.learn("a.test", 4, Answer(addresses("192.0.2.1"), 60), now=0)
    answers.learn("a.test", 4, Answer(addresses("192.0.2.2"), 60), now=1)

    assert answers.known("a.test", 4, now=2) == addresses("192.0.2.2")


def test_the_oldest_goes_when_it_is_full() -> None:
    """Whoever asks for thousands of names costs no more memory than a few."""
    answers = Answers()
    for number in range(MAX_ANSWERS + 1):
        answers.learn(f"{number}.test", 4, Answer(addresses("192.0.2.1"), 60), now=0)
        answers.learn("0.test" if number < MAX_ANSWERS else "1.test", 6, Answer((), 60), now=0)

    assert len(answers._kept) == MAX_ANSWERS
    assert answers.known("0.test", 4, now=1) is None
    assert answers.known(f"{MAX_ANSWERS}.test", 4, now=1) is not None
