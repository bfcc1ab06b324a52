"""The catalogue: lookup order, what build refuses, and overrides."""

from __future__ import annotations

import pytest

from towline.core.classify import Catalogue, RegistrySpec
from towline.types import UNLISTED, Classification, Role, Target

HUB = RegistrySpec("hub", api=("registry-1.docker.io",), auth=("auth.docker.io",), blob=("*.cdn.docker.com",))
STORE = RegistrySpec("store", blob=("*.s3.*.amazonaws.com", "*.store.example"))
NEAR = RegistrySpec("near", api=("*.cn.example",), blob=("*.data.cn.example",), direct_first=True)
CATALOGUE = Catalogue.build([HUB, STORE, NEAR])


def classify(catalogue: Catalogue, host: str) -> tuple[str, Role, str]:
    """Registry, role and rule for a host."""
    found = catalogue.classify(Target(host, 443))
    return found.registry, found.role, found.rule


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry-1.docker.io", ("hub", Role.API, "registry-1.docker.io")),
        ("auth.docker.io", ("hub", Role.AUTH, "auth.docker.io")),
        ("eu.cdn.docker.com", ("hub", Role.BLOB, "*.cdn.docker.com")),
        ("a.cn.example", ("near", Role.API, "*.cn.example")),
        ("a.data.cn.example", ("near", Role.BLOB, "*.data.cn.example")),
        ("data.cn.example", ("near", Role.API, "*.cn.example")),
        ("bucket.s3.eu-west-1.amazonaws.com", ("store", Role.BLOB, "*.s3.*.amazonaws.com")),
        ("docker.io", (UNLISTED, Role.UNKNOWN, "")),
        ("registry-1.docker.io.evil", (UNLISTED, Role.UNKNOWN, "")),
        ("evilregistry-1.docker.io", (UNLISTED, Role.UNKNOWN, "")),
        ("cn.example", (UNLISTED, Role.UNKNOWN, "")),
        ("10.0.0.1", (UNLISTED, Role.UNKNOWN, "")),
        ("2001:db8::1", (UNLISTED, Role.UNKNOWN, "")),
        ("localhost", (UNLISTED, Role.UNKNOWN, "")),
    ],
)
def test_classify(host: str, expected: tuple[str, Role, str]) -> None:
    """The longest matching rule names registry and role; a host without one is unlisted."""
    assert classify(CATALOGUE, host) == expected


@pytest.mark.parametrize("host", ["Registry-1.Docker.IO", "registry-1.docker.io.", "REGISTRY-1.DOCKER.IO."])
def test_case_and_final_dot(host: str) -> None:
    """Spelling does not change the answer (faults A.2 row 18)."""
    assert classify(CATALOGUE, host) == classify(CATALOGUE, "registry-1.docker.io")


def test_reason() -> None:
    """The reason is the sentence that log, CLI and page print."""
    assert CATALOGUE.classify(Target("eu.cdn.docker.com", 443)) == Classification(
        "hub", Role.BLOB, "*.cdn.docker.com", "blob host of hub by rule *.cdn.docker.com"
    )
    assert CATALOGUE.classify(Target("example.com", 443)).reason == "no rule of the catalogue matches"


@pytest.mark.parametrize(
    ("patterns", "host", "winner"),
    [
        (("*.a.example", "x.a.example"), "x.a.example", "x.a.example"),
        (("*.example", "*.a.example", "*.b.a.example"), "x.a.example", "*.a.example"),
        (("*.quay.example", "cdn*.quay.example"), "cdn1.quay.example", "cdn*.quay.example"),
        (("images*.s3.*.aws.example", "*.s3.*.aws.example"), "images-1.s3.eu.aws.example", "images*.s3.*.aws.example"),
        (("images*.s3.*.aws.example", "*.s3.eu.aws.example"), "images-1.s3.eu.aws.example", "*.s3.eu.aws.example"),
        (("b*.a.example", "*c.a.example"), "bc.a.example", "*c.a.example"),
    ],
)
def test_most_specific_wins(patterns: tuple[str, ...], host: str, winner: str) -> None:
    """Exact, then longest ending, then most fixed characters, then the alphabet, in whatever order they are written."""
    for order in (patterns, patterns[::-1]):
        catalogue = Catalogue.build([RegistrySpec(f"r{i}", api=(text,)) for i, text in enumerate(order)])
        assert classify(catalogue, host)[2] == winner


def test_several_roles() -> None:
    """A host that serves several roles has the one with the tightest budget."""
    host = "registry.corp.example"
    assert classify(Catalogue.build([RegistrySpec("c", auth=(host,), blob=(host,))]), host)[1] is Role.AUTH
    assert classify(Catalogue.build([RegistrySpec("c", api=(host,), auth=(host,), blob=(host,))]), host)[1] is Role.API


def test_addresses() -> None:
    """A registry without a name is listed by its address."""
    catalogue = Catalogue.build([RegistrySpec("lab", api=("10.20.0.7", "FD00::7"))])
    assert classify(catalogue, "10.20.0.7")[0] == "lab"
    assert catalogue.classify(Target.parse("[fd00:0::7]:5000")).registry == "lab"


@pytest.mark.parametrize(
    ("specs", "fault"),
    [
        ([RegistrySpec("a", api=("a.example",)), RegistrySpec("a")], "registry a: the name is taken"),
        ([RegistrySpec("unlisted", api=("a.example",))], "registry unlisted: the name is taken"),
        (
            [RegistrySpec("a", api=("*.x.example",)), RegistrySpec("b", blob=("*.X.example.",))],
            r"registry b: \*\.x\.example belongs to a already",
        ),
        ([RegistrySpec("a", blob=("https://a.example",))], "registry a: 'https://a.example' is not a host pattern"),
    ],
)
def test_build_refuses(specs: list[RegistrySpec], fault: str) -> None:
    """A catalogue that contradicts itself is not built, and the error names the registry."""
    with pytest.raises(ValueError, match=fault):
        Catalogue.build(specs)


def test_usual_hosts() -> None:
    """Those that a pull meets first: one of each role, as far as they are spelled out."""
    spec = RegistrySpec("r", api=("*.r.example", "r.example", "s.r.example"), auth=("auth.r.example",), blob=("*.cdn",))
    assert spec.usual_hosts() == ["r.example", "auth.r.example"]
    assert RegistrySpec("none").usual_hosts() == []


def test_registry() -> None:
    """Registries are found by name; `unlisted` is not one."""
    assert CATALOGUE.registry("near") is NEAR
    assert CATALOGUE.registry(UNLISTED) is None
    assert list(CATALOGUE.registries) == ["hub", "store", "near"]


def test_override_adds_a_registry() -> None:
    """A new name is a new registry, and the catalogue it is laid over stays as it was."""
    corp = RegistrySpec("corp", api=("registry.corp.example",), routes=("direct",))
    catalogue = CATALOGUE.with_overrides([corp])
    assert classify(catalogue, "registry.corp.example") == ("corp", Role.API, "registry.corp.example")
    assert catalogue.registry("corp") == corp
    assert classify(CATALOGUE, "registry.corp.example")[0] == UNLISTED


def test_override_adds_hosts_and_keeps_the_rest() -> None:
    """Naming a registry again adds to it: a new blob host does not cost the old ones."""
    catalogue = CATALOGUE.with_overrides([RegistrySpec("hub", blob=("new.cdn.example",), routes=("vpn",))])
    assert classify(catalogue, "new.cdn.example")[:2] == ("hub", Role.BLOB)
    assert classify(catalogue, "eu.cdn.docker.com")[:2] == ("hub", Role.BLOB)
    assert classify(catalogue, "auth.docker.io")[:2] == ("hub", Role.AUTH)
    hub = catalogue.registry("hub")
    assert hub is not None
    assert hub.routes == ("vpn",)


def test_override_keeps_policy() -> None:
    """What an override does not mention stays: routes, probe and direct_first too."""
    near = RegistrySpec("near", routes=("vpn",), probe="team/base")
    once = CATALOGUE.with_overrides([near, RegistrySpec("hub", direct_first=True)])
    twice = once.with_overrides([RegistrySpec("near", blob=("b.cn.example",))])
    found, hub = twice.registry("near"), twice.registry("hub")
    assert found is not None
    assert hub is not None
    assert found.routes == ("vpn",)
    assert found.probe == "team/base"
    assert found.direct_first
    assert hub.direct_first


def test_where_probes_read() -> None:
    """At the first API host, whatever its case; where no image is known, nowhere."""
    spec = RegistrySpec("corp", api=("*.corp.example", "other.example"), blob=("b.corp.example",), probe="team/base")
    assert spec.image_at("Registry.corp.example.") == "team/base"
    assert spec.image_at("other.example") is None
    assert RegistrySpec("corp", probe="team/base").image_at("corp.example") is None
    assert RegistrySpec("corp", api=("corp.example",)).image_at("corp.example") is None


@pytest.mark.parametrize("pattern", ["*.cn.example", "*.CN.example."])
def test_override_moves_a_host(pattern: str) -> None:
    """A pattern that the operator names goes where the operator puts it: another role, or another registry."""
    other_role = CATALOGUE.with_overrides([RegistrySpec("near", blob=(pattern,))])
    assert classify(other_role, "a.cn.example")[:2] == ("near", Role.BLOB)
    other_registry = CATALOGUE.with_overrides([RegistrySpec("mine", auth=(pattern,))])
    assert classify(other_registry, "a.cn.example")[:2] == ("mine", Role.AUTH)
    assert classify(other_registry, "a.data.cn.example")[:2] == ("near", Role.BLOB)


@pytest.mark.parametrize(
    ("specs", "fault"),
    [
        ([RegistrySpec("hub"), RegistrySpec("hub")], "registry hub: the name is taken"),
        ([RegistrySpec("unlisted")], "registry unlisted: the name is taken"),
        ([RegistrySpec("a", api=("x.y",)), RegistrySpec("b", api=("x.y",))], "registry b: x.y belongs to a already"),
        ([RegistrySpec("hub", api=("*",))], r"registry hub: '\*' leaves the last label open"),
    ],
)
def test_overrides_refuse(specs: list[RegistrySpec], fault: str) -> None:
    """Overrides that contradict each other are refused as a catalogue that does is."""
    with pytest.raises(ValueError, match=fault):
        CATALOGUE.with_overrides(specs)
