"""Every key of the configuration: its type, its bounds and its default, as pydantic models private to config.

The defaults are those of the policies (core/policy.py), and a test holds the two to the same names. Types are strict:
YAML has them already, so that `"443"` is text and no port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator
from pydantic_core import PydanticKnownError

from towline.config import values
from towline.config.values import Invalid, Proxy
from towline.core.policy import AccessPolicy, FailoverPolicy, HealthPolicy, LimitsPolicy, StallPolicy, TargetPolicy
from towline.types import Address, IPAddress, IPNetwork, NameServer

DEFAULT_LISTEN: tuple[Address, ...] = (("127.0.0.1", 3128), ("::1", 3128))  # Squid's port
DEFAULT_ADMIN: Address = ("127.0.0.1", 3129)

_TARGET = TargetPolicy()
_ACCESS = AccessPolicy()
_FAILOVER = FailoverPolicy()
_STALL = StallPolicy()
_HEALTH = HealthPolicy()
_LIMITS = LimitsPolicy()


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    format: Literal["auto", "text", "json"] = "auto"
    """Text for people, JSON for machines; auto chooses by where the log goes."""


_LOG = LogPolicy()


def _text[T](parse: Callable[[str], T]) -> PlainValidator:
    """Validate by `parse`, which is given text only."""

    def validate(value: object) -> T:
        if not isinstance(value, str):
            raise PydanticKnownError("string_type")
        return parse(value)

    return PlainValidator(validate)


def _not_empty[T: tuple[Any, ...] | frozenset[Any]](value: T) -> T:
    if not value:
        raise Invalid("the list is empty")
    return value


def _off(value: object) -> object:
    """The word that was meant: YAML 1.1 reads `off` as false."""
    return "off" if value is False else value


# A list of YAML becomes a tuple or a set: strict where the items are concerned, not about the container.
_LIST = Field(strict=False)
_NOT_EMPTY = AfterValidator(_not_empty)

type _Listen = Annotated[Address, _text(values.listen_address)]
type _Host = Annotated[str, _text(values.host)]
type _Network = Annotated[IPNetwork, _text(values.network)]
type _Pattern = Annotated[str, _text(values.host_pattern)]
type _Patterns = Annotated[tuple[_Pattern, ...], _LIST]
type _Private = Annotated[str, _text(values.private_target)]
type _Names = Annotated[tuple[str, ...], _LIST]
type _Port = Annotated[int, Field(ge=1, le=65535)]
type _Text = Annotated[str, Field(min_length=1)]
type _Seconds = Annotated[float, Field(gt=0, le=3600)]  # an hour: whoever writes more has milliseconds in mind


class Section(BaseModel):
    """A mapping with known keys; one whose keys are all commented out (null) has its defaults."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value


class RouteKeys(Section):
    """`routes: {NAME: ...}`; what they mean together is checked in checks.py."""

    interface: Annotated[str, _text(values.interface)] | None = None
    source: Annotated[IPAddress, _text(values.source_address)] | None = None
    mark: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] | None = None  # 32 bits in the kernel, 0 is "no mark"
    proxy: Annotated[Proxy, _text(values.proxy)] | None = None
    username: _Text | None = None
    password_file: _Text | None = None
    password_env: _Text | None = None
    ca_file: _Text | None = None
    dns: Annotated[NameServer, _text(values.name_server)] | None = None
    cost: Annotated[float, Field(ge=0, le=3600)] = 0.0
    registries: _Names | None = None
    disabled: bool = False


class RegistryKeys(Section):
    """`registries: {NAME: ...}`."""

    api: _Patterns = ()
    auth: _Patterns = ()
    blob: _Patterns = ()
    routes: Annotated[_Names, _NOT_EMPTY] | None = None
    probe: Annotated[str, _text(values.image)] | None = None


class TargetKeys(Section):
    """`policy:`, filling TargetPolicy."""

    unlisted: Literal["direct", "route", "deny"] = _TARGET.unlisted
    ports: Annotated[frozenset[_Port], _LIST, _NOT_EMPTY] = _TARGET.ports
    private_targets: Annotated[tuple[_Private, ...], _LIST] = _TARGET.private_targets
    spread: Annotated[Literal["auto", "off"], BeforeValidator(_off)] = _TARGET.spread


class AccessKeys(Section):
    """`access:`, filling AccessPolicy."""

    clients: Annotated[tuple[_Network, ...], _LIST, _NOT_EMPTY] = _ACCESS.clients
    users_file: _Text | None = None


class FailoverKeys(Section):
    """`failover:`, filling FailoverPolicy."""

    attempt_delay: Annotated[float, Field(ge=0.01, le=10)] = _FAILOVER.attempt_delay  # RFC 8305 5: never below 10 ms
    max_parallel: Annotated[int, Field(ge=1, le=16)] = _FAILOVER.max_parallel
    dial_timeout: _Seconds = _FAILOVER.dial_timeout
    budget_api: _Seconds = _FAILOVER.budget_api
    budget_blob: _Seconds = _FAILOVER.budget_blob
    budget_unlisted: _Seconds = _FAILOVER.budget_unlisted
    patience: _Seconds = _FAILOVER.patience
    budget_flight: _Seconds = _FAILOVER.budget_flight


class StallKeys(Section):
    """`stall:`, filling StallPolicy."""

    suspect_after: _Seconds = _STALL.suspect_after
    stuck_after: _Seconds = _STALL.stuck_after
    stuck_api_after: _Seconds = _STALL.stuck_api_after
    dead_api_after: _Seconds = _STALL.dead_api_after
    trickle_rate: Annotated[float, Field(ge=0, le=1e9)] = _STALL.trickle_rate  # 0: nothing is called a trickle
    trickle_window: _Seconds = _STALL.trickle_window
    trickle_factor: Annotated[float, Field(ge=1, le=1000)] = _STALL.trickle_factor


_Count = Annotated[int, Field(ge=1, le=1_000_000)]


class HealthKeys(Section):
    """`health:`, filling HealthPolicy."""

    probe_bytes: Annotated[int, Field(ge=0, le=1 << 40)] = _HEALTH.probe_bytes


class LimitsKeys(Section):
    """`limits:`, filling LimitsPolicy."""

    tunnels: _Count = _LIMITS.tunnels
    tunnels_per_client: _Count = _LIMITS.tunnels_per_client
    heads: _Count = _LIMITS.heads
    dials: _Count = _LIMITS.dials
    drain: _Seconds = _LIMITS.drain
    linger: _Seconds = _LIMITS.linger
    half_closed: _Seconds = _LIMITS.half_closed


class LogKeys(Section):
    """`log:`, filling LogPolicy."""

    level: Literal["debug", "info", "warning", "error"] = _LOG.level
    format: Literal["auto", "text", "json"] = _LOG.format


class FileKeys(Section):
    """The whole file."""

    listen: Annotated[tuple[_Listen, ...], _LIST, _NOT_EMPTY] = DEFAULT_LISTEN
    admin: _Listen | None = DEFAULT_ADMIN
    admin_hosts: Annotated[tuple[_Host, ...], _LIST] = ()
    admin_token_file: _Text | None = None
    state: _Text | None = "auto"
    routes: dict[Annotated[str, AfterValidator(values.name)], RouteKeys] | None = None
    """None: `direct` and what the machine offers."""
    registries: dict[Annotated[str, AfterValidator(values.registry_name)], RegistryKeys] | None = None
    policy: TargetKeys = TargetKeys()
    access: AccessKeys = AccessKeys()
    failover: FailoverKeys = FailoverKeys()
    stall: StallKeys = StallKeys()
    health: HealthKeys = HealthKeys()
    limits: LimitsKeys = LimitsKeys()
    log: LogKeys = LogKeys()
