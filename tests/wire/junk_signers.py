"""Messages that are junk by who signed them or by what their ids say: steps 4, 5 and 7."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from tests.wire.bodies import (
    BODIES,
    CLOSE,
    MANIFEST,
    RECEIPT,
    RESUME,
    STOP,
    WATERMARK,
    acknowledgement,
    command,
    filed,
    hello,
    payment,
    payment_item,
    welcome,
)
from tests.wire.case import COMMAND_TOPIC, Case, topic_of
from tests.wire.installation import (
    AGENT,
    FOREIGN_PROVIDER,
    INTAKE,
    MINUTE_MS,
    NOW_MS,
    OTHER_AGENT,
    OTHER_INSTALLATION,
    OTHER_METER,
    PROVIDER,
    STRANGER,
    key,
)
from tests.wire.spelling import envelope, signatures, signed
from wire.decoding import encode
from wire.envelope import seal
from wire.messages import ProviderMark

ORDER_OF_GROUP = 2**252 + 27742317777372353535851937790883648493
CLOSE_BODY = encode(CLOSE)
OPEN = command("open")
TO_AGENT = {"command", "welcome", "filed", "manifest", "stop", "resume"}


def all_cases() -> Iterator[Case]:
    yield from _shipped_first()
    yield from _unknown_and_surplus()
    yield from _roles()
    yield from _signatures()
    yield from _key_lives()
    yield from _ids()
    yield from _shards_and_scopes()


def _junk(step: int, name: str, says: str, body: Any, *names: str, **fields: Any) -> Case:
    """`body` is a message; its type is its class's name in small letters."""
    type_name = type(body).__name__.lower()
    whole: dict[str, Any] = {
        "topic": topic_of(type_name, body),
        "receiver": AGENT if type_name in TO_AGENT else None,
        "payload": signed(type_name, encode(body), *names) if names else b"",
        **fields,
    }
    return Case(name=name, says=says, verdict={"junk": step}, **whole)


def _shipped_first() -> Iterator[Case]:
    """The list the protocol page promises, as far as no state is needed."""
    yield _junk(
        5,
        "other-installation",
        "a genuine close of another installation, signed by the same engine key",
        CLOSE,
        payload=seal(OTHER_INSTALLATION, "command", CLOSE_BODY, [key("engine")]),
    )
    says = "the body says epoch 4, the key that signed is of epoch 3"
    yield _junk(7, "epoch-4-by-key-of-epoch-3", says, command(epoch=4), "engine")
    says = "the body says epoch 3, the key that signed is of epoch 4"
    yield _junk(7, "epoch-3-by-key-of-epoch-4", says, CLOSE, "engine-epoch-4")
    yield _junk(4, "open-by-guard-only", "an open signed by the guard alone", OPEN, "guard")
    says = "an open signed by two engine keys"
    yield _junk(4, "open-by-two-engines", says, OPEN, "engine", "engine-second-worker")
    says = "an open signed by engine, guard and an approver"
    yield _junk(4, "open-with-an-approver", says, OPEN, "engine", "guard", "approver-1")
    says = "a manifest whose requester is one of its two signers"
    own = msgspec.structs.replace(MANIFEST, requester="A. Verma")
    yield _junk(7, "manifest-signed-by-requester", says, own, "approver-1", "approver-2")
    for name, meters in {
        "unsorted": MANIFEST.meters[::-1],
        "repeated": MANIFEST.meters[:1] * 2,
    }.items():
        says = "a manifest's meters must stand in strictly ascending order"
        listed = msgspec.structs.replace(MANIFEST, meters=meters)
        yield _junk(7, f"manifest-meters-{name}", says, listed, "approver-1", "approver-2")


def _unknown_and_surplus() -> Iterator[Case]:
    yield _junk(4, "unknown-key", "a close signed by a key of no document", CLOSE, STRANGER)
    says = "a good engine signature, and one of a key of no document"
    yield _junk(4, "surplus-unknown-signature", says, CLOSE, "engine", STRANGER)
    says = "a close signed by two engine keys"
    yield _junk(4, "close-by-two-engines", says, CLOSE, "engine", "engine-second-worker")
    says = "an engine and the guard and the control room's stop key"
    yield _junk(4, "close-with-stop-key", says, CLOSE, "engine", "guard", "stop")
    says = "a key id that is no key's: eight zero bytes"
    pair = signatures("command", CLOSE_BODY, "engine")[0]
    payload = envelope(CLOSE_BODY, [[bytes(8), pair[1]]])
    yield _junk(4, "key-id-of-zeros", says, CLOSE, payload=payload)


def _roles() -> Iterator[Case]:
    for name, says, body, names in (
        ("close-by-agent", "an agent signs its own close", CLOSE, ("agent",)),
        ("close-by-approver", "an approver signs a close", CLOSE, ("approver-1",)),
        ("welcome-by-guard", "the guard signs a welcome", welcome(), ("guard",)),
        ("welcome-by-two", "engine and time sign one welcome", welcome(), ("engine", "time")),
        ("filed-by-time", "the time key signs `filed`", filed(), ("time",)),
        ("hello-by-engine", "the engine signs a hello", hello(), ("engine",)),
        ("receipt-by-intake", "an intake signs its own receipt", RECEIPT, ("intake",)),
        ("payment-by-engine", "the engine signs a payment", payment(), ("engine",)),
        ("watermark-by-engine", "the engine signs a watermark", WATERMARK, ("engine",)),
        ("stop-by-intake", "an intake signs a stop", STOP, ("intake",)),
        ("stop-by-two", "stop key and guard sign one stop", STOP, ("stop", "guard")),
        ("resume-by-one", "one approver signs a resume", RESUME, ("approver-1",)),
        ("resume-by-stop-key", "the stop key signs a resume", RESUME, ("stop", "approver-1")),
        (
            "resume-by-one-person-twice",
            "two keys of one person sign a resume",
            RESUME,
            ("approver-1", "approver-1-second-key"),
        ),
        (
            "manifest-by-one-person-twice",
            "two keys of one person sign a manifest",
            MANIFEST,
            ("approver-1", "approver-1-second-key"),
        ),
        ("roster-by-engine", "the engine signs a roster", BODIES["roster"][1], ("engine",)),
        ("roster-by-guard-only", "the guard alone", BODIES["roster"][1], ("guard",)),
    ):
        yield _junk(4, name, says, body, *names)


def _signatures() -> Iterator[Case]:
    identity, good = signatures("command", CLOSE_BODY, "engine")[0]
    high = int.from_bytes(good[32:], "little") + ORDER_OF_GROUP
    changed = {
        "bit-flipped": (bytes((good[0] ^ 1,)) + good[1:], "one bit of R flipped"),
        "s-plus-l": (good[:32] + high.to_bytes(32, "little"), "S + L: verifies without S < L"),
        "zeros": (bytes(64), "64 zero bytes"),
        "halves-swapped": (good[32:] + good[:32], "S before R"),
        "of-another-body": (
            signatures("command", encode(OPEN), "engine")[0][1],
            "a genuine signature over an open",
        ),
    }
    for name, (signature, says) in changed.items():
        payload = envelope(CLOSE_BODY, [[identity, signature]])
        yield _junk(5, f"signature-{name}", says, CLOSE, payload=payload)
    pairs = signatures("command", encode(OPEN), "engine", "guard")
    guard = key("guard").key_id
    spoilt = [[one, sig if one != guard else bytes(64)] for one, sig in pairs]
    says = "an open whose guard signature is 64 zero bytes"
    payload = envelope(encode(OPEN), spoilt)
    yield _junk(5, "open-with-bad-guard-signature", says, OPEN, payload=payload)
    pairs = signatures("command", CLOSE_BODY, "engine", "guard")
    spoilt = [[one, sig if one != guard else bytes(64)] for one, sig in pairs]
    says = "a close with a good engine signature and a bad guard signature: all must verify"
    payload = envelope(CLOSE_BODY, spoilt)
    yield _junk(5, "close-with-bad-guard-signature", says, CLOSE, payload=payload)
    says = "a stop's body and signatures shown as a resume: the type is under the signature"
    payload = signed("stop", encode(STOP), "approver-1", "approver-2")
    yield _junk(5, "stop-shown-as-resume", says, RESUME, payload=payload)
    body = encode(replaced(CLOSE, meter=OTHER_METER))
    says = "a body changed after it was signed"
    payload = envelope(body, signatures("command", CLOSE_BODY, "engine"))
    topic = f"command/{AGENT}/{OTHER_METER}"
    yield _junk(5, "body-changed", says, CLOSE, payload=payload, topic=topic)


def _key_lives() -> Iterator[Case]:
    yield _junk(5, "key-expired", "the key's life ended a minute ago", CLOSE, "engine-expired")
    yield _junk(5, "key-not-yet-valid", "the key's life begins tomorrow", CLOSE, "engine-not-yet")
    says = (
        "a welcome is judged by its own `now`, not by the agent's clock: the key had ended by then"
    )
    early = NOW_MS - 2 * MINUTE_MS
    yield _junk(5, "welcome-by-expired-key", says, welcome(), "engine-expired", at_ms=early)
    says = "epoch 2 is below the registry's floor of 3"
    yield _junk(7, "close-below-epoch-floor", says, command(epoch=2), "engine-epoch-2")
    yield _junk(7, "welcome-below-epoch-floor", says, welcome(), "engine-epoch-2")
    yield _junk(7, "filed-below-epoch-floor", says, filed(), "engine-epoch-2")
    stop = _junk(7, "stop-below-epoch-floor", says, STOP, "engine-epoch-2")
    yield replace(stop, receiver=AGENT)


def _ids() -> Iterator[Case]:
    close = signed("command", CLOSE_BODY, "engine")
    for name, says, topic, receiver in (
        ("close-on-another-meters-topic", "the body names another meter", OTHER_METER, AGENT),
        ("close-on-another-agents-topic", "the body names another agent", None, OTHER_AGENT),
    ):
        where = f"command/{AGENT}/{topic}" if topic else COMMAND_TOPIC.replace(AGENT, OTHER_AGENT)
        yield _junk(7, name, says, CLOSE, payload=close, topic=where, receiver=receiver)
    says = "genuine, but this receiver is another agent"
    yield _junk(7, "close-at-another-agent", says, CLOSE, "engine", receiver=OTHER_AGENT)
    yield _junk(7, "welcome-at-another-agent", says, welcome(), "engine", receiver=OTHER_AGENT)
    says = "genuine, but this receiver is another intake"
    yield _junk(7, "receipt-at-another-intake", says, RECEIPT, "engine", receiver="INTAKE-2")
    says = "right role, wrong subject: another agent's key"
    yield _junk(7, "hello-by-another-agents-key", says, hello(), "other-agent")
    yield _junk(7, "acknowledgement-by-another-agents-key", says, acknowledgement(), "other-agent")
    says = "the body names another agent than topic and key"
    body = hello(agent=OTHER_AGENT)
    yield _junk(7, "hello-of-another-agent", says, body, "agent", topic=topic_of("hello", hello()))
    says = "a welcome for another agent on this agent's topic"
    body = welcome(agent=OTHER_AGENT)
    yield _junk(7, "welcome-of-another-agent", says, body, "engine", topic=f"welcome/{AGENT}")
    says = "an intake's key signs for another intake"
    body = replaced(WATERMARK, intake="INTAKE-2")
    yield _junk(7, "watermark-of-another-intake", says, body, "intake")
    body = replaced(RECEIPT, intake="INTAKE-2")
    says = "a receipt for another intake on this intake's topic"
    topic = f"receipt/{INTAKE}"
    yield _junk(7, "receipt-of-another-intake", says, body, "engine", topic=topic, receiver=INTAKE)


def _shards_and_scopes() -> Iterator[Case]:
    says = "this agent's shard is another"
    for body in (hello(), acknowledgement()):
        type_name = type(body).__name__.lower()
        topic = f"{type_name}/{_another_shard(topic_of(type_name, body))}/{AGENT}"
        yield _junk(7, f"{type_name}-in-wrong-shard", says, body, "agent", topic=topic)
    paid = payment()
    topic = f"payment/{_another_shard(topic_of('payment', paid))}/{PROVIDER}"
    says = "this payment's shard is another"
    yield _junk(7, "payment-in-wrong-shard", says, paid, "intake", topic=topic)
    mixed = payment(payment_item(), payment_item(4_712, "pay_OyT9aaaaaaaaaa"))
    says = "two payments of different shards in one message"
    yield _junk(7, "payment-of-two-shards", says, mixed, "intake")
    says = "the provider is not in the scope of the intake's key"
    abroad = payment(provider=FOREIGN_PROVIDER)
    yield _junk(7, "payment-out-of-scope", says, abroad, "intake")
    marks = (ProviderMark(provider=FOREIGN_PROVIDER, complete_to_ms=0),)
    yield _junk(7, "watermark-out-of-scope", says, replaced(WATERMARK, providers=marks), "intake")
    says = "the body names another provider than the topic"
    topic = topic_of("payment", paid).replace(PROVIDER, "BBPS-BANK")
    yield _junk(7, "payment-on-another-providers-topic", says, paid, "intake", topic=topic)


def _another_shard(topic: str) -> str:
    return f"{(int(topic.split('/')[1]) + 1) % 16:02d}"


def replaced(body: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(body, **fields)
