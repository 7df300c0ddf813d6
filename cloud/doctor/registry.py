"""Trust: the documents under the pinned root, our own keys in them, and the agents' identities."""

from cloud.configuration import ConfigurationError
from cloud.doctor.findings import DAY_MS, Check, Code, Finding, Remark, Remarks, Subject
from cloud.doctor.ledger_facts import read_facts
from cloud.identities import read_identities
from cloud.spelling import ist
from wire.decoding import decode_trust
from wire.documents import Registry
from wire.envelope import MalformedError
from wire.trust import (
    DEVELOPMENT_MARK,
    Authorities,
    accept,
    anchor,
)
from wire.vocabulary import Role

SOON_MS = 14 * DAY_MS  # a root ceremony needs people at one table
TAKEN_WITHIN_MS = 3_600_000  # an agent that is there takes a new registry at its next hello
NAMED_MAX = 5  # names in one line; the count says the rest


class NoTrustError(ValueError):
    """There are no documents to examine; check `trust` says why."""


def documents_verify(subject: Subject) -> Remarks:
    """Root and registry, under the pin."""
    try:
        _registry(_authorities(subject))
    except (OSError, ValueError) as error:  # refused, malformed, missing
        return [Finding(Code.TRUST_REFUSED, str(error))]
    return []


def registry_is_in_force(subject: Subject) -> Remarks:
    """Not expired, and not about to."""
    registry = _registry(_trusted(subject))
    return _end(
        f"registry {registry.registry_version}",
        registry.expires_at_ms,
        subject.now_ms,
        (Code.REGISTRY_EXPIRED, Code.REGISTRY_ENDS_SOON),
    )


def production_has_no_development_key(subject: Subject) -> Remarks:
    """Development keys lie about in test folders."""
    if not subject.is_production:
        return []
    registry = _registry(_trusted(subject))
    marked = [one.subject for one in registry.keys if one.mark == DEVELOPMENT_MARK]
    if not marked:
        return []
    text = f"registry {registry.registry_version} holds development keys of {_named(marked)}"
    return [Finding(Code.DEVELOPMENT_KEY, text)]


def own_keys_are_registered(subject: Subject) -> Remarks:
    """Engine and intake sign with keys that everybody will believe, today and in two weeks."""
    configured = subject.installation.configuration
    keys = _trusted(subject).keyring().keys
    parties = ((configured.engine, Role.ENGINE), (configured.intake, Role.INTAKE))
    remarks: list[Remark] = []
    for section, role in parties:
        if section is None:
            continue
        try:
            key = subject.installation.signing_key(section.key)
        except ConfigurationError as error:
            remarks.append(Finding(Code.KEY_NOT_REGISTERED, str(error)))
            continue
        entry = keys.get(key.key_id)
        if entry is None or (entry.subject, entry.role) != (section.name, role):
            text = f"{section.key} is no {role} key of {section.name} in the registry"
            remarks.append(Finding(Code.KEY_NOT_REGISTERED, text))
            continue
        remarks += _end(
            f"the {role} key of {section.name}",
            entry.not_after_ms,
            subject.now_ms,
            (Code.KEY_ENDS_SOON, Code.KEY_ENDS_SOON),
        )
    return remarks


def engine_key_is_of_this_epoch(subject: Subject) -> Remarks:
    """R4: an old epoch's commands are refused; a thief's key is left behind by a new one."""
    authorities = _trusted(subject)
    registry, section = _registry(authorities), subject.installation.engine
    least = max(registry.epoch_floor, read_facts(subject).epoch)
    entries = [one for one in authorities.keyring().keys.values() if one.subject == section.name]
    newest = max((one.epoch for one in entries if one.role is Role.ENGINE), default=0)
    if newest >= least:
        return []
    text = f"{section.name}'s key has epoch {newest}, registry and ledger are at {least}"
    return [Finding(Code.KEY_EPOCH_OLD, text)]


def enrol_key_is_in_force(subject: Subject) -> Remarks:
    """Without one, no agent can be enrolled, and none gets new hardware."""
    registry = _registry(_trusted(subject))
    ends = [one.not_after_ms for one in registry.keys if one.role is Role.ENROL]
    if not ends or max(ends) <= subject.now_ms:
        text = f"registry {registry.registry_version} has no enrol key that is valid now"
        return [Finding(Code.ENROL_KEY_ENDED, text)]
    soon = (Code.KEY_ENDS_SOON, Code.KEY_ENDS_SOON)
    return _end("the enrol key", max(ends), subject.now_ms, soon)


def agents_have_identities(subject: Subject) -> Remarks:
    """Each agent of the ledger has one statement that counts; none is about to end."""
    folder = subject.installation.at(subject.installation.engine.identities)
    read = read_identities(folder, _trusted(subject), known_serials={})
    remarks: list[Remark] = [
        Finding(Code.IDENTITY_REFUSED, f"{one.path.name}: {one.reason}") for one in read.left_out
    ]
    ends = {one.subject: one.not_after_ms for one in read.keys.values()}
    # What has ended is no identity any more.
    known = {name for name, end_ms in ends.items() if end_ms > subject.now_ms}
    missing = [one.agent_id for one in read_facts(subject).agents if one.agent_id not in known]
    if missing:
        text = f"{len(missing)} agents have no identity that is valid now: {_named(missing)}"
        remarks.append(Finding(Code.IDENTITY_MISSING, text))
    ending = sorted(name for name in known if ends[name] < subject.now_ms + SOON_MS)
    if ending:
        text = f"{len(ending)} identities end within 14 days: {_named(ending)}"
        remarks.append(Finding(Code.IDENTITY_ENDS_SOON, text))
    return remarks


def agents_took_the_registry(subject: Subject) -> Remarks:
    """An agent that was heard an hour after a registry was made holds it, or refuses it."""
    registry = _registry(_trusted(subject))
    late_ms = registry.issued_at_ms + TAKEN_WITHIN_MS
    behind = [
        one.agent_id
        for one in read_facts(subject).agents
        if one.trust_version < registry.registry_version and (one.heard_at_ms or 0) > late_ms
    ]
    if not behind:
        return []
    text = f"{len(behind)} agents do not hold registry {registry.registry_version}:"
    return [Finding(Code.TRUST_NOT_TAKEN, f"{text} {_named(behind)}")]


def _authorities(subject: Subject) -> Authorities:
    """The documents, whatever their age or marks: those are checks of their own."""
    section, at = subject.installation.configuration.trust, subject.installation.at
    held = anchor(at(section.root).read_bytes(), bytes.fromhex(section.pin))
    documents = decode_trust(at(section.documents).read_bytes())
    return accept(held, documents, latest_ms=None, is_production=False)


def _trusted(subject: Subject) -> Authorities:
    try:
        return _authorities(subject)
    except (OSError, ValueError, MalformedError) as error:
        raise NoTrustError(f"there are no documents to look at: {error}") from None


def _registry(authorities: Authorities) -> Registry:
    if authorities.registry is None:
        raise NoTrustError("there is no registry")
    return authorities.registry


def _end(what: str, end_ms: int, now_ms: int, codes: tuple[Code, Code]) -> Remarks:
    """A finding when it has ended, another one when it ends within two weeks."""
    ended, soon = codes
    if end_ms <= now_ms:
        return [Finding(ended, f"{what} ended at {ist(end_ms)}")]
    if end_ms < now_ms + SOON_MS:
        return [Finding(soon, f"{what} ends at {ist(end_ms)}")]
    return []


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED_MAX])
    return shown if len(names) <= NAMED_MAX else f"{shown}, ..."


CHECKS = (
    Check("trust", "the documents verify under the pinned root", documents_verify),
    Check("registry", "the registry is in force for two weeks", registry_is_in_force),
    Check("marks", "no development key in production", production_has_no_development_key),
    Check("keys", "engine and intake have registered keys", own_keys_are_registered),
    Check("epoch", "the engine's key is of the current epoch", engine_key_is_of_this_epoch),
    Check("enrol", "an enrol key is in force", enrol_key_is_in_force),
    Check("identities", "every agent has an identity", agents_have_identities),
    Check("trust-taken", "every agent that is there holds the registry", agents_took_the_registry),
)
