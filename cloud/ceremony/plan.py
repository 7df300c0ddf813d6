"""ceremony.toml: the root's holders, the online keys and the edge's policy of one installation.

Rules kept here: an unknown key, a wrong type or a value that means nothing is refused with its
place and the cure; public keys are 64 hex digits, as `relight keys create` prints them; times of
the day are local to `utc_offset`, because a concentrator has no time-zone data.

    installation = "32 hex digits"        left out at the first ceremony: it is drawn then
    threshold = 2                         of the root keys
    life_days = 60                        of a registry, at most 60
    [[root]]  holder = "Metering, chief engineer", public = "..."
    [[key]]   role = "engine", subject = "ENGINE-1", public = "...", epoch = 1, scope = [],
              life_days = 365
    [policy]  per_mille = 20, small = 25, ceiling = 20, per_meter_opens = 2, dwell_s = 60,
              utc_offset = "+05:30", closed_days = ["2027-01-26"],
              windows = [{days = "mon-fri", from = "11:00", to = "14:00"}]
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from wire.documents import (
    UTC_OFFSET_BIAS_MINUTES,
    EdgePolicy,
    OpenWindow,
    Registry,
    RegistryKey,
    Root,
    RootKey,
)
from wire.fields import InstallationId
from wire.vocabulary import Role

DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"^([01]\d|2[0-3]):[0-5]\d\Z|^24:00\Z"
_HEX_32 = Meta(pattern=r"^[0-9a-f]{64}\Z")


class PlanError(ValueError):
    """A plan that cannot be carried out, with what to change."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: what stands here and nothing else."""


class RootHolder(_Table, frozen=True, kw_only=True):
    """[[root]]: a root key and who holds it."""

    holder: str
    public: Annotated[str, _HEX_32]


class OnlineKey(_Table, frozen=True, kw_only=True):
    """[[key]]: an online key: whose, what for, for how long."""

    role: Role
    subject: str
    public: Annotated[str, _HEX_32]
    epoch: Annotated[int, Meta(ge=0, le=65_535)] = 0
    scope: tuple[str, ...] = ()
    life_days: Annotated[int, Meta(ge=1, le=3_650)] = 365


class Window(_Table, frozen=True, kw_only=True):
    """Hours in which opens are allowed, on days `mon-fri` or `mon,wed`."""

    days: str
    begin: Annotated[str, Meta(pattern=_TIME)] = msgspec.field(name="from")
    end: Annotated[str, Meta(pattern=_TIME)] = msgspec.field(name="to")


class EdgePolicyPlan(_Table, frozen=True, kw_only=True):
    """[policy]: what the edge enforces on opens; the defaults are the protocol's."""

    per_mille: Annotated[int, Meta(ge=0, le=1_000)] = 20
    small: Annotated[int, Meta(ge=0, le=1_000_000)] = 25
    ceiling: Annotated[int, Meta(ge=0, le=1_000)] = 20
    per_meter_opens: Annotated[int, Meta(ge=0, le=24)] = 2
    dwell_s: Annotated[int, Meta(ge=0, le=86_400)] = 60
    utc_offset: Annotated[str, Meta(pattern=r"^[+-](0\d|1[0-2]):[0-5]\d\Z")] = "+05:30"
    windows: Annotated[tuple[Window, ...], Meta(max_length=8)] = (
        Window(days="mon-fri", begin="11:00", end="14:00"),
    )
    closed_days: Annotated[tuple[date, ...], Meta(max_length=128)] = ()


class Plan(_Table, frozen=True, kw_only=True):
    """The whole file."""

    threshold: Annotated[int, Meta(ge=1, le=2)]
    root: Annotated[tuple[RootHolder, ...], Meta(min_length=1, max_length=7)]
    key: Annotated[tuple[OnlineKey, ...], Meta(min_length=1, max_length=64)]
    installation: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")] | None = None
    life_days: Annotated[int, Meta(ge=1, le=60)] = 60
    policy: EdgePolicyPlan = EdgePolicyPlan()


def read_plan(path: Path) -> Plan:
    """Read and check ceremony.toml.

    Raises:
        PlanError: with the file, the place and the cure.
    """
    try:
        plan = msgspec.toml.decode(path.read_bytes(), type=Plan)
    except (msgspec.DecodeError, OSError) as error:
        raise PlanError(f"{path}: {error}") from None
    if plan.threshold > len(plan.root):
        raise PlanError(f"{path}: threshold {plan.threshold}, but {len(plan.root)} root keys")
    roles = {one.role for one in plan.key}
    for needed in (Role.ENGINE, Role.INTAKE, Role.ENROL):
        if needed not in roles:
            raise PlanError(f"{path}: no [[key]] of role {needed}: nothing could run")
    for one in plan.key:
        if (one.role is Role.ENGINE) is not (one.epoch > 0):
            raise PlanError(f"{path}: {one.subject}: an epoch from 1 belongs to engine keys alone")
    return plan


def root_of(plan: Plan, installation: InstallationId, *, version: int, now_ms: int) -> Root:
    """The plan's root document."""
    return Root(
        installation=installation,
        root_version=version,
        issued_at_ms=now_ms,
        threshold=plan.threshold,
        keys=tuple(
            RootKey(public=bytes.fromhex(one.public), holder=one.holder) for one in plan.root
        ),
    )


def registry_of(plan: Plan, *, version: int, root_version: int, now_ms: int) -> Registry:
    """The plan's registry. The lowest engine epoch is in force, a higher one is the spare."""
    keys = tuple(registry_key(one, now_ms=now_ms) for one in plan.key)
    return Registry(
        registry_version=version,
        root_version=root_version,
        issued_at_ms=now_ms,
        expires_at_ms=now_ms + plan.life_days * DAY_MS,
        epoch_floor=min(key.epoch for key in keys if key.role is Role.ENGINE),
        keys=keys,
        policy=edge_policy_of(plan.policy),
    )


def registry_key(one: OnlineKey, *, now_ms: int) -> RegistryKey:
    """An online key as the registry lists it, valid from now."""
    return RegistryKey(
        public=bytes.fromhex(one.public),
        role=one.role,
        subject=one.subject,
        scope=one.scope,
        epoch=one.epoch,
        not_before_ms=now_ms,
        not_after_ms=now_ms + one.life_days * DAY_MS,
        mark="",
    )


def edge_policy_of(plan: EdgePolicyPlan) -> EdgePolicy:
    """The edge's policy as the wire writes it.

    Raises:
        PlanError: days that are none, or a window that ends before it begins.
    """
    sign = -1 if plan.utc_offset[0] == "-" else 1
    return EdgePolicy(
        per_mille=plan.per_mille,
        small=plan.small,
        ceiling=plan.ceiling,
        per_meter_opens=plan.per_meter_opens,
        utc_offset_minutes=sign * _minutes(plan.utc_offset[1:]) + UTC_OFFSET_BIAS_MINUTES,
        windows=tuple(_window(one) for one in plan.windows),
        closed_days=tuple(sorted((day - _EPOCH_DAY).days for day in plan.closed_days)),
        dwell_ms=plan.dwell_s * 1_000,
    )


def _window(window: Window) -> OpenWindow:
    begin, end = _minutes(window.begin), _minutes(window.end)
    if begin >= end:
        raise PlanError(f"[policy] window {window.begin} to {window.end} ends before it begins")
    mask = 0
    for part in window.days.split(","):
        first, _, last = part.partition("-")
        days = _between(first, last or first)
        if not days:
            raise PlanError(f"[policy] window days {window.days!r}: write mon-fri, or mon,wed")
        for day in days:
            mask |= 1 << day
    return OpenWindow(weekdays=mask, from_minute=begin, to_minute=end)


def _between(first: str, last: str) -> Sequence[int]:
    if first not in _DAYS or last not in _DAYS:
        return ()
    return range(_DAYS.index(first), _DAYS.index(last) + 1)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
