"""Classification is total, blind to spelling, and agrees with trying every pattern one by one."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from towline.catalogue import load_catalogue
from towline.core.classify import Catalogue, RegistrySpec
from towline.core.pattern import HostPattern
from towline.types import UNLISTED, Role, Target

BUILT_IN = load_catalogue()
PATTERNS = [HostPattern.parse(text) for spec in BUILT_IN.registries.values() for _, text in spec.roles()]
LABEL = st.from_regex(r"[a-z0-9]{1,3}", fullmatch=True)


@st.composite
def hosts(draw: st.DrawFn) -> str:
    """A random name, or a built-in pattern with something for each star, sometimes with a label before or after it."""
    host = draw(st.sampled_from(PATTERNS)).text
    while "*" in host:
        host = host.replace("*", draw(LABEL), 1)
    return draw(
        st.sampled_from([host, f"{draw(LABEL)}.{host}", f"{host}.{draw(LABEL)}", f"{draw(LABEL)}{host}", draw(LABEL)])
    )


@given(hosts())
def test_agrees_with_trying_every_pattern(host: str) -> None:
    """The rule is the exact host, else the longest ending, else the most fixed characters; without one: unlisted."""
    matching = [pattern for pattern in PATTERNS if pattern.matches(host)]
    best = max(matching, key=lambda p: (p.exact, len(p.ending), p.fixed), default=None)
    found = BUILT_IN.classify(Target(host, 443))
    assert found.rule == (best.text if best else "")
    assert (found.registry == UNLISTED) == (found.role is Role.UNKNOWN) == (best is None)


@given(st.one_of(hosts(), st.text(max_size=40)), st.data())
def test_total_and_blind_to_spelling(host: str, data: st.DataObject) -> None:
    """Every host has an answer, the same for any case and with a final dot."""
    answer = BUILT_IN.classify(Target(host, 443))
    assume(host.isascii() and not host.endswith("."))
    flips = data.draw(st.lists(st.booleans(), min_size=len(host), max_size=len(host)))
    spelling = "".join(c.upper() if flip else c for c, flip in zip(host, flips, strict=True))
    assert BUILT_IN.classify(Target(spelling, 443)) == answer
    assert BUILT_IN.classify(Target(f"{spelling}.", 443)) == answer


@given(st.permutations(list(BUILT_IN.registries.values())), hosts())
def test_order_does_not_matter(specs: list[RegistrySpec], host: str) -> None:
    """A registry may stand anywhere in the file."""
    target = Target(host, 443)
    assert Catalogue.build(specs).classify(target) == BUILT_IN.classify(target)


@given(hosts(), st.sampled_from([Role.API, Role.AUTH, Role.BLOB]))
def test_an_override_of_a_host_wins(host: str, role: Role) -> None:
    """A host that the operator names belongs to the operator's registry, and every other host stays where it was."""
    assume(not host.rpartition(".")[2].isdigit())  # not a pattern: it ends in a number
    spec = {
        Role.API: RegistrySpec("mine", api=(host,)),
        Role.AUTH: RegistrySpec("mine", auth=(host,)),
        Role.BLOB: RegistrySpec("mine", blob=(host,)),
    }[role]
    catalogue = BUILT_IN.with_overrides([spec])
    found = catalogue.classify(Target(host, 443))
    assert (found.registry, found.role) == ("mine", role)
    other = Target(f"other.{host}", 443)
    assert catalogue.classify(other) == BUILT_IN.classify(other)
