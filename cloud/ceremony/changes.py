"""The next registry: one version higher, renewed, or with keys rotated, added or revoked. Pure.

Rules kept here (docs/protocol.md, "Trust"; R4, R12):
 * A rotation overlaps by 24 hours at most. Engine keys rotate together, into the next epoch: two
   epochs in use for longer would leave the order of counters to chance.
 * A revoked engine key takes its epoch with it: the floor rises above it, so a spare key of a
   higher epoch, or a new one, must be there.
 * Keys whose life ended are left out. What the change would break is refused here, before people
   meet to sign it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from cloud.ceremony.plan import DAY_MS
from wire.documents import Registry, RegistryKey
from wire.keys import KeyId, key_id
from wire.vocabulary import Role

OVERLAP_MAX_MS = DAY_MS
LIFE_MAX_MS = 60 * DAY_MS
KEYS_MAX = 64
NEEDED_ROLES = (Role.ENGINE, Role.INTAKE, Role.ENROL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Under which root the next registry is issued, when, and for how long."""

    root_version: int
    now_ms: int
    life_ms: int = LIFE_MAX_MS


class ChangeError(ValueError):
    """A change of the registry that may not be made, with what to do instead."""


def renewed(registry: Registry, issue: Issue) -> Registry:
    """The same keys and policy, for another life."""
    return _issued(registry, registry.keys, issue)


def added(registry: Registry, fresh: Sequence[RegistryKey], issue: Issue) -> Registry:
    """With more keys: another approver, a spare engine key of the next epoch."""
    return _issued(registry, (*registry.keys, *fresh), issue)


def rotated(
    registry: Registry,
    replacing: Mapping[KeyId, bytes],
    issue: Issue,
    *,
    overlap_ms: int = OVERLAP_MAX_MS,
) -> Registry:
    """Keys that replace others, and the others until the overlap ends.

    Args:
        registry: the one in force.
        replacing: old key id -> new public key.
        issue: of the next one.
        overlap_ms: how long both are valid.

    Raises:
        ChangeError: an unknown key, too long an overlap, or engine keys left behind.
    """
    if not 0 <= overlap_ms <= OVERLAP_MAX_MS:
        raise ChangeError(f"an overlap of {overlap_ms} ms: at most {OVERLAP_MAX_MS} (24 h)")
    known = {key_id(one.public): one for one in registry.keys}
    _demand_known(replacing, known)
    epoch = max(one.epoch for one in registry.keys) + 1
    engines = {name for name, one in known.items() if one.role is Role.ENGINE}
    in_force = {name for name in engines if known[name].epoch == registry.epoch_floor}
    if replacing.keys() & engines and not in_force <= replacing.keys():
        missing = ", ".join(sorted(name.hex() for name in in_force - replacing.keys()))
        raise ChangeError(
            f"engine keys rotate together into epoch {epoch}: name a new one for {missing} too"
        )
    now_ms = issue.now_ms
    keys: list[RegistryKey] = []
    for name, old in known.items():
        if name not in replacing:
            keys.append(old)
            continue
        life_ms = old.not_after_ms - old.not_before_ms
        keys.append(replace(old, not_after_ms=min(old.not_after_ms, now_ms + overlap_ms)))
        keys.append(
            replace(
                old,
                public=replacing[name],
                epoch=epoch if old.role is Role.ENGINE else 0,
                not_before_ms=now_ms,
                not_after_ms=now_ms + life_ms,
            )
        )
    return _issued(registry, keys, issue)


def revoked(
    registry: Registry,
    lost: Collection[KeyId],
    issue: Issue,
    *,
    fresh: Sequence[RegistryKey] = (),
) -> Registry:
    """Without keys that are lost or stolen, at once; `fresh` ones in the same change.

    Raises:
        ChangeError: an unknown key, or nothing could run without it.
    """
    known = {key_id(one.public): one for one in registry.keys}
    _demand_known(lost, known)
    keys = [*(one for name, one in known.items() if name not in lost), *fresh]
    ended = [known[name].epoch for name in lost if known[name].role is Role.ENGINE]
    floor = max([registry.epoch_floor, *(epoch + 1 for epoch in ended)])
    # A stolen key's epoch ends with it, so workers of the same epoch need new keys too.
    keys = [one for one in keys if one.role is not Role.ENGINE or one.epoch >= floor]
    return _issued(replace(registry, epoch_floor=floor), keys, issue)


def _demand_known(named: Collection[KeyId], known: Mapping[KeyId, RegistryKey]) -> None:
    for name in named:
        if name not in known:
            raise ChangeError(f"the registry lists no key {name.hex()}: see `relight keys show`")


def _issued(registry: Registry, keys: Sequence[RegistryKey], issue: Issue) -> Registry:
    alive = tuple(one for one in keys if one.not_after_ms > issue.now_ms)
    for role in NEEDED_ROLES:
        if not any(one.role is role for one in alive):
            raise ChangeError(
                f"no key of role {role} would be left: add a new one in the same change"
            )
    if len({one.public for one in alive}) != len(alive):
        raise ChangeError("one key would stand twice: every role and person has a key of its own")
    if len(alive) > KEYS_MAX:
        raise ChangeError(f"{len(alive)} keys: a registry lists at most {KEYS_MAX}")
    if not 0 < issue.life_ms <= LIFE_MAX_MS:
        raise ChangeError(f"a life of {issue.life_ms} ms: a registry lives at most 60 days")
    return replace(
        registry,
        registry_version=registry.registry_version + 1,
        root_version=issue.root_version,
        issued_at_ms=issue.now_ms,
        expires_at_ms=issue.now_ms + issue.life_ms,
        keys=alive,
    )
