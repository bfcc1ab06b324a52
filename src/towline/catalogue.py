"""The packaged catalogue of registries: registries.yaml, read and checked, as a core Catalogue.

    load_catalogue()        the built-in registries; the configuration lays its own over them (Catalogue.with_overrides)

A fault in the file is a fault of the package, not of the operator's configuration: it is raised as ValueError, not
collected as a Problem.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from towline.core.classify import Catalogue, RegistrySpec

_FILE = "registries.yaml"


class _Entry(BaseModel):
    """One registry as the file has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    api: list[str] = []
    auth: list[str] = []
    blob: list[str] = []
    direct_first: bool = False
    probe: str | None = None


_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
_ENTRIES = TypeAdapter(dict[_Name, _Entry])


@cache  # part of the package: it does not change, and a reload need not stop the tunnels for its 25 ms
def load_catalogue() -> Catalogue:
    """The built-in catalogue. Raises ValueError where the packaged file is damaged."""
    return parse_catalogue(resources.files("towline").joinpath(_FILE).read_text(encoding="utf-8"))


def parse_catalogue(text: str) -> Catalogue:
    """A catalogue from YAML as registries.yaml has it. Raises ValueError for anything that does not fit."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{_FILE} is not valid YAML: {error}") from None
    entries = _ENTRIES.validate_python(document)
    return Catalogue.build(
        [
            RegistrySpec(
                name=name,
                api=tuple(entry.api),
                auth=tuple(entry.auth),
                blob=tuple(entry.blob),
                direct_first=entry.direct_first,
                probe=entry.probe,
            )
            for name, entry in entries.items()
        ]
    )
