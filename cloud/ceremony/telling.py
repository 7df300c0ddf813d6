"""A draft in words: what a holder reads, aloud if need be, before signing."""

from collections.abc import Iterator
from datetime import date, timedelta

from cloud.spelling import ist
from wire.documents import EdgePolicy, Registry, RegistryKey, Resume, Root
from wire.keys import key_id

_EPOCH = date(1970, 1, 1)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def in_words(document: Root | Registry | Resume) -> str:
    """The whole document, one fact a line."""
    match document:
        case Root():
            lines = _root(document)
        case Registry():
            lines = _registry(document)
        case Resume():
            lines = _resume(document)
    return "\n".join(lines)


def _resume(resume: Resume) -> Iterator[str]:
    yield f"resume: lifts every stop up to {resume.lifts_ms} of {ist(resume.lifts_ms)}"
    yield f"note: {resume.note}"


def _root(root: Root) -> Iterator[str]:
    yield f"root {root.root_version} of installation {root.installation.hex()}"
    yield f"issued {ist(root.issued_at_ms)}; {root.threshold} of {len(root.keys)} keys must sign"
    for one in root.keys:
        yield f"  {key_id(one.public).hex()}  {one.holder}"


def _registry(registry: Registry) -> Iterator[str]:
    yield f"registry {registry.registry_version} under root {registry.root_version}"
    yield f"issued {ist(registry.issued_at_ms)}, expires {ist(registry.expires_at_ms)}"
    yield f"engine epochs below {registry.epoch_floor} are ended"
    for one in sorted(registry.keys, key=lambda key: (key.role, key.subject, key.epoch)):
        yield _key(one)
    yield from _policy(registry.policy)


def _key(key: RegistryKey) -> str:
    more = f" epoch {key.epoch}" if key.epoch else ""
    more += f" scope {' '.join(key.scope)}" if key.scope else ""
    more += f" marked {key.mark}" if key.mark else ""
    life = f"{ist(key.not_before_ms)} to {ist(key.not_after_ms)}"
    return f"  {key_id(key.public).hex()}  {key.role:<9} {key.subject}{more}, {life}"


def _policy(policy: EdgePolicy) -> Iterator[str]:
    yield (
        f"opens of one agent in 24 h: {policy.per_mille} per mille of the meters it reached, at"
        f" most {policy.ceiling}, none below {policy.small}; of one meter: {policy.per_meter_opens}"
    )
    for window in policy.windows:
        days = ", ".join(name for bit, name in enumerate(_DAYS) if window.weekdays >> bit & 1)
        begin, end = (
            f"{at // 60:02}:{at % 60:02}" for at in (window.from_minute, window.to_minute)
        )
        yield f"window {begin} to {end} on {days}"
    closed = ", ".join(str(_EPOCH + timedelta(days=day)) for day in policy.closed_days)
    yield f"closed days: {closed or 'none'}; dwell after a close: {policy.dwell_ms} ms"
