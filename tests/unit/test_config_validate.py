from __future__ import annotations

import dataclasses

import pytest
from pydantic_core import ErrorDetails

from towline.config.document import read
from towline.config.keys import (
    FailoverKeys,
    FileKeys,
    HealthKeys,
    LimitsKeys,
    LogKeys,
    LogPolicy,
    RegistryKeys,
    RouteKeys,
    Section,
    TargetKeys,
)
from towline.config.validate import _explain, validate
from towline.core.classify import RegistrySpec
from towline.core.policy import FailoverPolicy, HealthPolicy, LimitsPolicy, TargetPolicy


def problems(text: str) -> list[str]:
    """The problems with the keys of a file, as text."""
    return [str(problem) for problem in validate(read(text, place="t"))[1]]


@pytest.mark.parametrize(
    ("keys", "policy"),
    [
        (TargetKeys(), TargetPolicy()),
        (FailoverKeys(), FailoverPolicy()),
        (HealthKeys(), HealthPolicy()),
        (LimitsKeys(), LimitsPolicy()),
        (LogKeys(), LogPolicy()),
    ],
)
def test_sections_have_the_names_and_defaults_of_their_policies(keys: Section, policy: object) -> None:
    """Every number of a policy can be set, under its own name, and is left at its own default."""
    fields = dataclasses.fields(policy)  # type: ignore[arg-type]
    assert dict(keys) == {field.name: getattr(policy, field.name) for field in fields}


def test_registry_keys_are_fields_of_the_spec() -> None:
    """What a registry entry may say is what RegistrySpec holds, its name and the catalogue's own flag apart."""
    fields = {field.name for field in dataclasses.fields(RegistrySpec)}
    assert set(RegistryKeys.model_fields) == fields - {"name", "direct_first"}


def test_everything_set() -> None:
    """A file that sets every key gives these values."""
    keys, found = validate(
        read(
            """
listen: ["127.0.0.1:1", "[::1]:2"]
admin: null
routes:
  a: {interface: wg0, source: 10.0.0.1, mark: 0x20, proxy: "https://p:1", username: u, password_file: f,
      password_env: E, ca_file: c, cost: 2, registries: [ghcr], disabled: true}
registries: {corp: {api: [a.example], auth: [b.example], blob: ["*.c.example"], routes: [a], probe: "team/base:1"}}
policy: {unlisted: deny, ports: [443, 5000], private_targets: [10.0.0.0/8], spread: off}
access: {clients: [10.0.0.0/8]}
failover: {attempt_delay: 1, max_parallel: 2, dial_timeout: 3, budget_api: 4, budget_blob: 5, budget_unlisted: 6.5}
health: {probe_bytes: 0}
limits: {tunnels: 1, drain: 2, linger: 3, half_closed: 4}
log: {level: debug, format: json}
""",
            place="t",
        )
    )

    assert found == []
    assert keys.listen == (("127.0.0.1", 1), ("::1", 2))
    assert keys.admin is None
    assert keys.routes is not None
    assert keys.routes["a"].mark == 32
    assert keys.routes["a"].cost == 2.0
    assert keys.routes["a"].registries == ("ghcr",)
    assert keys.registries is not None
    assert keys.registries["corp"].blob == ("*.c.example",)
    assert keys.registries["corp"].probe == "team/base:1"
    assert dict(keys.failover)["budget_unlisted"] == 6.5
    assert keys.policy.ports == {443, 5000}
    assert keys.policy.spread == "off"
    assert keys.log.format == "json"


def test_null_sections_and_routes_have_their_defaults() -> None:
    """A section or a route whose keys are all commented out is as if they were."""
    keys, found = validate(read("routes:\nregistries:\npolicy:\nlimits:\n", place="t"))

    assert found == []
    assert keys == FileKeys()
    assert validate(read("routes:\n  direct:\n", place="t"))[0].routes == {"direct": RouteKeys()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lisen: []", "t:1: lisen: unknown key\n  hint: did you mean listen?"),
        (
            "zzzzz: 1",
            "known: access, admin, admin_hosts, admin_token_file, failover, health, limits, listen, log, ",
        ),
        ("routes: {a: {usrname: x}}", "t:1: routes.a.usrname: unknown key\n  hint: did you mean username?"),
        ("routes: {a: {multipath: true}}", "routes.a.multipath: unknown key"),
        ("routes: {a: {password: hunter2}}", "use password_file or password_env"),
        ("registries: {a: {blobs: []}}", "registries.a.blobs: unknown key\n  hint: did you mean blob?"),
        ("registries: {a: {direct_first: true}}", "registries.a.direct_first: unknown key"),
        ("policy: {port: 1}", "policy.port: unknown key\n  hint: did you mean ports?"),
        ("access: {user_file: x}", "access.user_file: unknown key"),
        ("failover: {budget: 1}", "failover.budget: unknown key\n  hint: did you mean budget_api?"),
        ("listen: hunter2", "listen: expected a list, got text\n  hint: write it in brackets"),
        ("listen: []", "listen: the list is empty"),
        ("listen: [3128]", "listen[0]: expected text, got a whole number\n  hint: write it in quotes"),
        ("listen: null", "listen: expected a list, got nothing"),
        ("admin: off", "admin: expected text, got true or false\n  hint: YAML reads on, off, yes and no so"),
        ("routes: []", "routes: expected a mapping (key: value), got a list"),
        ("routes: {a: hunter2}", "routes.a: expected a mapping (key: value), got text"),
        ("routes: {Bad: {}}", "routes.Bad: a name is 1 to 32"),
        ("routes: {a: {mark: 0}}", "routes.a.mark: has to be at least 1"),
        ("routes: {a: {mark: 0x100000000}}", "routes.a.mark: has to be at most 4294967295"),
        ('routes: {a: {mark: "0x20"}}', "routes.a.mark: expected a whole number, got text"),
        ("routes: {a: {cost: -0.5}}", "routes.a.cost: has to be at least 0"),
        ("routes: {a: {cost: .nan}}", "routes.a.cost: has to be a finite number"),
        ("routes: {a: {username: ''}}", "routes.a.username: the text is empty"),
        ("routes: {a: {disabled: 1}}", "routes.a.disabled: expected true or false, got a whole number"),
        ("routes: {a: {interface: 7}}", "routes.a.interface: expected text, got a whole number"),
        ("routes: {a: {registries: [1]}}", "routes.a.registries[0]: expected text"),
        ("registries: {unlisted: {}}", "choose another name"),
        ("registries: {a: {routes: []}}", "registries.a.routes: the list is empty"),
        ("policy: {unlisted: hunter2}", "policy.unlisted: expected direct, route or deny"),
        ("policy: {ports: 443}", "policy.ports: expected a list, got a whole number\n  hint: write it in brackets"),
        ("policy: {ports: [0]}", "policy.ports[0]: has to be at least 1"),
        ("policy: {ports: [65536]}", "policy.ports[0]: has to be at most 65535"),
        ("policy: {ports: [yes]}", "policy.ports[0]: expected a whole number, got true or false"),
        ("policy: {ports: []}", "policy.ports: the list is empty"),
        ("access: {clients: []}", "access.clients: the list is empty"),
        ("failover: {attempt_delay: 0.009}", "failover.attempt_delay: has to be at least 0.01"),
        ("failover: {dial_timeout: 0}", "failover.dial_timeout: has to be more than 0"),
        ("failover: {dial_timeout: 10000}", "failover.dial_timeout: has to be at most 3600"),
        ("failover: {dial_timeout: .inf}", "failover.dial_timeout: has to be a finite number"),
        ("failover: {dial_timeout: true}", "failover.dial_timeout: expected a number, got true or false"),
        ("failover: {dial_timeout: 10s}", "failover.dial_timeout: expected a number, got text"),
        ("failover: {max_parallel: 2.5}", "expected a whole number, got a number with a fraction"),
        ("limits: {tunnels: {}}", "limits.tunnels: expected a whole number, got a mapping"),
        ("log: {level: verbose}", "log.level: expected debug, info, warning or error"),
        ("log: []", "log: expected a mapping (key: value), got a list"),
    ],
)
def test_a_wrong_key_is_explained(text: str, said: str) -> None:
    """Every kind of mistake has one problem in plain words, without the value."""
    (problem,) = problems(text)

    assert said in problem
    assert "hunter2" not in problem


def test_all_problems_at_once_and_the_rest_is_kept() -> None:
    """Problems in several sections are all reported, and every key without one has its value."""
    document = read(
        "admin: 1\nroutes:\n  a: {cost: -1, mark: 7}\n  b: []\npolicy: {ports: [443, x], unlisted: deny}\n", place="t"
    )

    keys, found = validate(document)

    assert [problem.place for problem in found] == ["t:1", "t:3", "t:4", "t:5"]
    assert keys.routes == {"a": RouteKeys(mark=7)}
    assert keys.policy == TargetKeys(unlisted="deny")
    assert keys.admin == ("127.0.0.1", 3129)


def test_what_pydantic_may_say_besides_is_passed_on() -> None:
    """An error that has no words here yet is still a problem, with pydantic's own."""
    details: ErrorDetails = {
        "type": "date_type",
        "loc": ("x",),
        "msg": "Input should be a valid date",
        "input": "hunter2",
    }

    assert _explain(details, ("x",)) == ("Input should be a valid date", "")
