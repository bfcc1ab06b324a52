"""What a target is: the registry it belongs to, its role there, and which rule of the catalogue said so.

A catalogue is a list of registries, each with the host patterns of its roles. Every host gets an answer; a host that no
pattern matches is `unlisted`. Of several matching patterns the most specific wins:

    1. the exact host                                                   production.cloudfront.docker.com
    2. the longest fixed ending                                         *.data.azurecr.io before *.azurecr.io
    3. the most fixed characters                                        cdn*.quay.io before *.quay.io

The answers are built with the catalogue, so that a lookup is one dictionary access per label of the host and, for the
few patterns filed under a matching ending, one regular expression each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from towline.core.pattern import HostPattern, canonical_host
from towline.types import UNLISTED, Classification, Role, Target

_UNLISTED = Classification(UNLISTED, Role.UNKNOWN, "", "no rule of the catalogue matches")

type _Rule = tuple[HostPattern, Classification]


@dataclass(frozen=True, slots=True)
class RegistrySpec:
    """One registry: the host patterns (pattern.py) of its roles, and the policy that its hosts share."""

    name: str
    api: tuple[str, ...] = ()
    auth: tuple[str, ...] = ()
    blob: tuple[str, ...] = ()
    routes: tuple[str, ...] | None = None
    """Only these routes may serve it; None means any."""
    direct_first: bool = False
    """The route `direct` is ranked first: the registry is near, and the other routes lead away from it."""
    probe: str | None = None
    """A public image of it, `library/alpine` or with a tag, that probes read from."""

    def image_at(self, host: str) -> str | None:
        """The image that probes read from at this host: it is at the registry's first API host."""
        return self.probe if self.api and HostPattern.parse(self.api[0]).matches(canonical_host(host)) else None

    def usual_hosts(self) -> list[str]:
        """The hosts that a pull meets, most likely: the first of each role that is spelled out."""
        named = [
            [text for text in patterns if HostPattern.parse(text).exact]
            for patterns in (self.api, self.auth, self.blob)
        ]
        return [patterns[0] for patterns in named if patterns]

    def roles(self) -> Iterator[tuple[Role, str]]:
        """Role and pattern, the role with the tightest budget first."""
        for role, patterns in ((Role.API, self.api), (Role.AUTH, self.auth), (Role.BLOB, self.blob)):
            for pattern in patterns:
                yield role, pattern


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The registries by name, and the index over their patterns. Made by `build`, never changed."""

    registries: Mapping[str, RegistrySpec]
    _exact: Mapping[str, Classification]
    _open: Mapping[str, tuple[_Rule, ...]]
    """Patterns with a `*` by their fixed ending, the most specific first."""

    @classmethod
    def build(cls, specs: Sequence[RegistrySpec]) -> Self:
        """Index the registries.

        A pattern that one registry gives to several roles counts for the first of api, auth, blob: the tightest budget.
        Raises ValueError for a bad pattern, a name that is taken, and a pattern that two registries claim.
        """
        registries: dict[str, RegistrySpec] = {}
        rules: dict[str, _Rule] = {}
        for spec in specs:
            if spec.name in registries or spec.name == UNLISTED:
                raise ValueError(f"registry {spec.name}: the name is taken")
            registries[spec.name] = spec
            for text, rule in _rules(spec).items():
                if text in rules:
                    raise ValueError(f"registry {spec.name}: {text} belongs to {rules[text][1].registry} already")
                rules[text] = rule
        exact = {text: answer for text, (pattern, answer) in rules.items() if pattern.exact}
        return cls(registries, exact, _by_ending(rules.values()))

    def classify(self, target: Target) -> Classification:
        """The registry and role of the target's host, whatever its case and with or without its final dot."""
        host = canonical_host(target.host)
        answer = self._exact.get(host)
        if answer is not None:
            return answer
        ending = host
        while ending:
            ending = ending.partition(".")[2]
            for pattern, answer in self._open.get(ending, ()):
                if pattern.matches(host):
                    return answer
        return _UNLISTED

    def registry(self, name: str) -> RegistrySpec | None:
        """The registry of this name, None where there is none (`unlisted` is none)."""
        return self.registries.get(name)

    def with_overrides(self, specs: Sequence[RegistrySpec]) -> Self:
        """The catalogue with the operator's registries laid over it.

        One rule: what an override says holds, and what it does not mention stays. Its patterns are added to the
        registry of that name and taken from whatever role or registry had them; its `routes` and `probe` replace those
        of the registry; `direct_first` is set where either sets it. Raises ValueError as `build` does.
        """
        self.build(specs)  # overrides that contradict each other are refused before they are merged
        claimed = {text for spec in specs for text in _rules(spec)}
        merged = {name: _without(spec, claimed) for name, spec in self.registries.items()}
        for spec in specs:
            merged[spec.name] = _merge(merged.get(spec.name, RegistrySpec(spec.name)), spec)
        return self.build(tuple(merged.values()))


def _rules(spec: RegistrySpec) -> dict[str, _Rule]:
    """The patterns of one registry by their canonical text, each with the answer that it gives."""
    rules: dict[str, _Rule] = {}
    for role, text in spec.roles():
        try:
            pattern = HostPattern.parse(text)
        except ValueError as error:
            raise ValueError(f"registry {spec.name}: {error}") from None
        reason = f"{role} host of {spec.name} by rule {pattern.text}"
        rules.setdefault(pattern.text, (pattern, Classification(spec.name, role, pattern.text, reason)))
    return rules


def _by_ending(rules: Iterable[_Rule]) -> dict[str, tuple[_Rule, ...]]:
    endings: dict[str, list[_Rule]] = {}
    for pattern, answer in rules:
        if not pattern.exact:
            endings.setdefault(pattern.ending, []).append((pattern, answer))
    return {
        ending: tuple(sorted(group, key=lambda rule: (-rule[0].fixed, rule[0].text)))
        for ending, group in endings.items()
    }


def _without(spec: RegistrySpec, claimed: set[str]) -> RegistrySpec:
    """The registry less the patterns that overrides claim."""

    def rest(patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for text in patterns if HostPattern.parse(text).text not in claimed)

    return replace(spec, api=rest(spec.api), auth=rest(spec.auth), blob=rest(spec.blob))


def _merge(base: RegistrySpec, over: RegistrySpec) -> RegistrySpec:
    return RegistrySpec(
        name=base.name,
        api=base.api + over.api,
        auth=base.auth + over.auth,
        blob=base.blob + over.blob,
        routes=base.routes if over.routes is None else over.routes,
        direct_first=base.direct_first or over.direct_first,
        probe=over.probe or base.probe,
    )
