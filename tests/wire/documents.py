"""Trust documents that may not be believed, and the one that may: judged by what is held."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.wire.installation import (
    DAY_MS,
    INSTALLATION,
    NOW_MS,
    OTHER_INSTALLATION,
    REGISTERED,
    REGISTRY,
    REGISTRY_ENVELOPE,
    ROOT_1,
    ROOT_2,
    ROOT_2_ENVELOPE,
    ROOT_3_ENVELOPE,
    Entry,
    identity,
    key,
    registry_key,
    sealed,
)
from tests.wire.junk_signers import replaced
from wire.decoding import encode
from wire.documents import Registry, Root, RootKey, Trust
from wire.envelope import seal
from wire.vocabulary import Role

SMALL_ORDER = bytes((1,)) + bytes(31)  # the neutral element: order 1
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
NOT_A_POINT = bytes((2,)) + bytes(31)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCase:
    """A document shown to a holder.

    `kind`: "first root" (judged by the pin of keys.json), "trust" (a trust message) or "identity".
    `held`: "nothing", "root 1", or "registry 7" (root 2 and the registry of keys.json).
    """

    name: str
    says: str
    kind: str = "trust"
    held: str = "root 1"
    latest_ms: int | None = NOW_MS
    is_production: bool = False
    payload: bytes
    verdict: str = "document_refused"


def all_cases() -> Iterator[DocumentCase]:
    yield from _roots()
    yield from _registries()
    yield from _registry_keys()
    yield from _identities()


def trust(
    registry: Registry = REGISTRY,
    *signers: str,
    roots: tuple[bytes, ...] = (ROOT_2_ENVELOPE,),
) -> bytes:
    names = signers or ("root-2-a", "root-2-b")
    return encode(Trust(roots=roots, registry=sealed("registry", encode(registry), *names)))


def root_envelope(root: Root, *names: str, installation: Any = INSTALLATION) -> bytes:
    return seal(installation, "root", encode(root), [key(name) for name in names])


def _roots() -> Iterator[DocumentCase]:
    firsts = {
        "root-1-of-another-digest": (replaced(ROOT_1, issued_at_ms=1), "root-1", "not the pinned"),
        "root-1-signed-by-stranger": (
            ROOT_1,
            "stranger",
            "the pinned body, a stranger's signature",
        ),
        "root-2-shown-as-first": (ROOT_2, "root-2-a", "version 2 where version 1 begins"),
    }
    for name, (root, signer, says) in firsts.items():
        payload = root_envelope(root, signer)
        yield DocumentCase(name=name, says=says, kind="first root", held="nothing", payload=payload)
    three = replaced(REGISTRY, root_version=3)
    chains: dict[str, tuple[str, bytes]] = {
        "root-1-to-3-without-2": (
            "one step at a time",
            trust(three, "root-3", roots=(ROOT_3_ENVELOPE,)),
        ),
        "root-2-without-old-signature": (
            "signed by its own keys only",
            trust(roots=(root_envelope(ROOT_2, "root-2-a", "root-2-b"),)),
        ),
        "root-2-below-own-threshold": (
            "signed by the old key and one of its own; its threshold is 2",
            trust(roots=(root_envelope(ROOT_2, "root-1", "root-2-a"),)),
        ),
        "root-2-with-strangers-signature": (
            "enough good signatures, and one of a key neither document names",
            trust(roots=(root_envelope(ROOT_2, "root-1", "root-2-a", "root-2-b", "stranger"),)),
        ),
        "root-2-of-another-installation": (
            "the id under the signature and in the body is another",
            trust(
                roots=(
                    root_envelope(
                        replaced(ROOT_2, installation=OTHER_INSTALLATION),
                        *("root-1", "root-2-a", "root-2-b"),
                        installation=OTHER_INSTALLATION,
                    ),
                )
            ),
        ),
        "root-2-lists-one-key-twice": (
            "one key twice, so that one holder would be two",
            trust(roots=(_root_2(ROOT_2.keys[0].public, "root-1", "root-2-a"),)),
        ),
        "root-2-lists-small-order-key": (
            "a small-order public key",
            trust(roots=(_root_2(SMALL_ORDER, "root-1", "root-2-a"),)),
        ),
    }
    for name, (says, payload) in chains.items():
        yield DocumentCase(name=name, says=says, payload=payload)


def _root_2(second: bytes, *names: str) -> bytes:
    keys = (ROOT_2.keys[0], RootKey(public=second, holder="P. Iyer"))
    return root_envelope(replaced(ROOT_2, keys=keys), *names)


def _registries() -> Iterator[DocumentCase]:
    accepted = {"verdict": "accepted"}
    good = trust()
    yield DocumentCase(name="good", says="root 2 and registry 7", payload=good, **accepted)
    says = "before any time is known: believed, its expiry is judged later"
    later = trust(replaced(REGISTRY, expires_at_ms=NOW_MS - 1))
    yield DocumentCase(
        name="expired-no-time-known", says=says, payload=later, latest_ms=None, **accepted
    )
    yield DocumentCase(name="registry-expired", says="expired 1 ms ago", payload=later)
    long = REGISTRY.issued_at_ms + 60 * DAY_MS + 1
    changed = {
        "registry-of-61-days": (
            "a life over 60 days",
            trust(replaced(REGISTRY, expires_at_ms=long)),
        ),
        "registry-of-old-root": (
            "it names root 1; the current root is 2",
            trust(replaced(REGISTRY, root_version=1)),
        ),
        "registry-below-threshold": (
            "one root key signed; two are needed",
            trust(REGISTRY, "root-2-a"),
        ),
        "registry-by-engine": ("signed by an online key", trust(REGISTRY, "engine")),
        "registry-by-old-root": ("signed by root 1's key", trust(REGISTRY, "root-1")),
        "registry-signed-as-root": (
            "signed as type `root`",
            encode(
                Trust(
                    roots=(ROOT_2_ENVELOPE,),
                    registry=sealed("root", encode(REGISTRY), "root-2-a", "root-2-b"),
                )
            ),
        ),
        "registry-changed": (
            "one byte of the body changed after signing",
            encode(
                Trust(
                    roots=(ROOT_2_ENVELOPE,),
                    registry=REGISTRY_ENVELOPE.replace(b"A. Verma", b"A. Verna", 1),
                )
            ),
        ),
        "trust-message-trailing-byte": ("a byte behind the message", good + b"\x00"),
        "trust-message-oversize": ("over 32,768 B", good + bytes(32_768)),
    }
    for name, (says, payload) in changed.items():
        yield DocumentCase(name=name, says=says, payload=payload)
    production = "keys with the mark `development` at a production process"
    yield DocumentCase(
        name="development-in-production", says=production, payload=good, is_production=True
    )
    older = trust(replaced(REGISTRY, registry_version=6))
    says = "version 6 while 7 is held"
    yield DocumentCase(name="registry-older", says=says, held="registry 7", payload=older)
    other = trust(replaced(REGISTRY, epoch_floor=2))
    says = "version 7 in another wording: somebody signed two"
    yield DocumentCase(name="registry-in-two-versions", says=says, held="registry 7", payload=other)


def _registry_keys() -> Iterator[DocumentCase]:
    engine = REGISTERED["engine"]
    guard = registry_key("guard", REGISTERED["guard"])
    rows = {
        "one-key-in-two-roles": (
            "the engine's key is the guard's as well: one theft would be both",
            registry_key("engine", REGISTERED["guard"]),
        ),
        "one-key-twice": ("the same row twice", guard),
        "approver-without-person": (
            "an approver's key that names nobody",
            registry_key("stranger", Entry(role=Role.APPROVER, subject="")),
        ),
        "engine-without-host": (
            "an online key that names no host",
            registry_key("stranger", replace(engine, subject="")),
        ),
        "agent-in-registry": (
            "agents' keys are identities, not registry rows",
            registry_key("stranger", Entry(role=Role.AGENT, subject="AG-INDORE-0417")),
        ),
        "root-in-registry": (
            "root keys stand in root documents",
            registry_key("stranger", Entry(role=Role.ROOT, subject="R. Joshi")),
        ),
        "root-key-as-approver": (
            "a key of the current root in an online role: it would be there to be stolen",
            registry_key("root-2-b", Entry(role=Role.APPROVER, subject="P. Iyer")),
        ),
        "small-order-key": ("order 1", replaced(guard, public=SMALL_ORDER)),
        "order-8-key": ("order 8", replaced(guard, public=ORDER_8)),
        "key-not-on-curve": ("no point at all", replaced(guard, public=NOT_A_POINT)),
    }
    for name, (says, row) in rows.items():
        changed = replaced(REGISTRY, keys=(*REGISTRY.keys, row))
        yield DocumentCase(name=f"registry-{name}", says=says, payload=trust(changed))
    nobody = replaced(REGISTRY, keys=())
    yield DocumentCase(name="registry-without-keys", says="an empty list", payload=trust(nobody))


def _identities() -> Iterator[DocumentCase]:
    statement = identity("agent")
    rows = {
        "identity-by-enrol": ("accepted", statement, "enrol", "as it should be"),
        "identity-by-engine": ("document_refused", statement, "engine", "not an enrol key"),
        "identity-by-itself": ("document_refused", statement, "agent", "signed by its own key"),
        "identity-of-small-order-key": (
            "document_refused",
            replaced(statement, public=SMALL_ORDER),
            "enrol",
            "a small-order public key",
        ),
    }
    for name, (verdict, body, signer, says) in rows.items():
        payload = sealed("identity", encode(body), signer)
        yield DocumentCase(
            name=name,
            says=says,
            kind="identity",
            held="registry 7",
            payload=payload,
            verdict=verdict,
        )
