"""Messages that are junk by their size, topic, outer shape or body: steps 1, 2, 3 and 6."""

from collections.abc import Iterator

from tests.wire.bodies import BODIES, CLOSE, STOP, command, hello, payment, payment_item
from tests.wire.case import COMMAND_TOPIC, Case, topic_of
from tests.wire.installation import AGENT, METER, NOW_MS
from tests.wire.spelling import (
    elements,
    envelope,
    joined,
    pack,
    signatures,
    signed,
    with_element,
)
from wire.decoding import encode
from wire.fields import Array

CLOSE_BODY = encode(CLOSE)
CLOSE_SIGNED = signed("command", CLOSE_BODY, "engine")
HELLO_BODY = encode(hello())
STOP_BODY = encode(STOP)
LONG_1 = b"\xcc\x01"  # 1 in two bytes


def all_cases() -> Iterator[Case]:
    yield from _size_and_topic()
    yield from _outer_shape()
    yield from _bodies_of_commands()
    yield from _bodies_of_others()
    yield from _texts()


def _close(name: str, says: str, payload: bytes, step: int, **fields: object) -> Case:
    return Case(name=name, says=says, payload=payload, verdict={"junk": step}, **fields)


def _size_and_topic() -> Iterator[Case]:
    big = payment(*(payment_item(n, f"pay_{'x' * 60}", order="o" * 64) for n in range(1, 65)))
    big_body = encode(big)
    yield Case(
        name="oversize-payment",
        says=f"a genuine payment message of {len(signed('payment', big_body, 'intake'))} B;"
        " the limit is 16,384",
        topic=topic_of("payment", big),
        receiver=None,
        payload=signed("payment", big_body, "intake"),
        verdict={"junk": 1},
    )
    yield _close("oversize-command", "a close with 512 B behind it", CLOSE_SIGNED + bytes(512), 1)
    topics = {
        "unknown-type": f"order/{AGENT}/{METER}",
        "missing-segment": f"command/{AGENT}",
        "surplus-segment": f"{COMMAND_TOPIC}/now",
        "empty-segment": f"command/{AGENT}/",
        "lower-case-id": f"command/{AGENT.lower()}/{METER}",
        "newline-behind-id": f"{COMMAND_TOPIC}\n",
        "id-of-33-characters": f"command/{AGENT}/{'M' * 33}",
        "leading-hyphen": f"command/{AGENT}/-{METER}",
        "non-ascii-digit": f"command/{AGENT}/MET-4001771\u0662",
        "leading-slash": f"/{COMMAND_TOPIC}",
    }
    for name, topic in topics.items():
        yield _close(f"topic-{name}", f"a genuine close on {topic!r}", CLOSE_SIGNED, 3, topic=topic)
    hello_signed = signed("hello", HELLO_BODY, "agent")
    for shard in ("16", "5", "-1"):
        yield _close(
            f"topic-shard-{shard}",
            f"a hello in shard {shard!r}; shards are 00 to 15",
            hello_signed,
            3,
            topic=f"hello/{shard}/{AGENT}",
            receiver=None,
        )
    retained = "a genuine close that the broker kept: commands are never retained"
    yield _close("retained-command", retained, CLOSE_SIGNED, 3, is_retained=True)
    yield _close(
        "retained-welcome",
        "a genuine welcome that the broker kept",
        signed("welcome", encode(BODIES["welcome"][1]), "engine"),
        3,
        topic=f"welcome/{AGENT}",
        is_retained=True,
    )


def _outer_shape() -> Iterator[Case]:
    pairs = signatures("command", CLOSE_BODY, "engine")
    two = signatures("command", CLOSE_BODY, "engine", "guard")
    shapes = {
        "empty": (b"", "nothing at all"),
        "trailing-byte": (CLOSE_SIGNED + b"\x00", "one byte behind the envelope"),
        "truncated-in-signature": (CLOSE_SIGNED[:-1], "the last byte is missing"),
        "truncated-in-body": (CLOSE_SIGNED[:40], "cut off after 40 bytes"),
        "version-2": (envelope(CLOSE_BODY, pairs, 2), "envelope version 2"),
        "no-signature": (envelope(CLOSE_BODY, []), "an empty list of signatures"),
        "five-signatures": (
            envelope(CLOSE_BODY, sorted([[bytes((n,)) * 8, pairs[0][1]] for n in range(5)])),
            "five signatures; at most four",
        ),
        "same-key-twice": (envelope(CLOSE_BODY, pairs * 2), "two signatures of one key"),
        "descending-key-ids": (envelope(CLOSE_BODY, two[::-1]), "key ids descending"),
        "body-as-str": (
            joined([b"\x01", b"\xd9" + bytes((len(CLOSE_BODY),)) + CLOSE_BODY, pack(pairs)]),
            "the body is a str",
        ),
        "key-id-of-7-bytes": (
            envelope(CLOSE_BODY, [[pairs[0][0][:7], pairs[0][1]]]),
            "a key id of 7 bytes",
        ),
        "signature-of-63-bytes": (
            envelope(CLOSE_BODY, [[pairs[0][0], pairs[0][1][:63]]]),
            "a signature of 63 bytes",
        ),
        "surplus-field": (pack([1, CLOSE_BODY, pairs, None]), "a fourth field"),
        "surplus-field-in-signature": (
            pack([1, CLOSE_BODY, [[*pairs[0], 1]]]),
            "a third field in a signature",
        ),
        "long-version": (
            with_element(CLOSE_SIGNED, 0, LONG_1),
            "the version in two bytes: 1 has one spelling",
        ),
        "long-bin": (
            with_element(
                CLOSE_SIGNED, 1, b"\xc5" + len(CLOSE_BODY).to_bytes(2, "big") + CLOSE_BODY
            ),
            "the body's length in two bytes where one is enough",
        ),
        "long-array": (b"\xdc\x00\x03" + CLOSE_SIGNED[1:], "the array's length in two bytes"),
        "map": (pack({0: 1, 1: CLOSE_BODY, 2: pairs}), "a map"),
        "deep-nesting": (b"\x93\x01\xc4\x00" + b"\x91" * 400, "arrays 400 deep"),
        "reserved-byte": (
            b"\x93\xc1" + CLOSE_SIGNED[2:],
            "the byte 0xc1, which msgpack never uses",
        ),
        "json": (b'[1,"AAAA",[]]', "JSON text"),
    }
    for name, (payload, says) in shapes.items():
        yield _close(f"envelope-{name}", says, payload, 2)


def _bodies_of_commands() -> Iterator[Case]:
    parts = elements(CLOSE_BODY)
    huge = b"\xcf" + (2**53).to_bytes(8, "big")
    changed = {
        "long-form-integer": (with_element(CLOSE_BODY, 4, b"\xcd\x00\x03"), "epoch 3 in 3 bytes"),
        "signed-form-integer": (with_element(CLOSE_BODY, 4, b"\xd0\x03"), "epoch 3 as int8"),
        "negative": (with_element(CLOSE_BODY, 4, pack(-1)), "epoch -1"),
        "epoch-65536": (with_element(CLOSE_BODY, 4, pack(65_536)), "epoch 65,536"),
        "sequence-2-48": (with_element(CLOSE_BODY, 5, pack(2**48)), "a sequence of 2^48"),
        "sequence-2-53": (with_element(CLOSE_BODY, 5, huge), "a sequence of 2^53"),
        "float": (with_element(CLOSE_BODY, 5, pack(float(NOW_MS))), "the sequence as a float"),
        "bool-for-integer": (with_element(CLOSE_BODY, 0, b"\xc3"), "version true"),
        "version-2": (with_element(CLOSE_BODY, 0, b"\x02"), "body version 2"),
        "bin-for-str": (with_element(CLOSE_BODY, 3, pack(METER.encode())), "the meter as bin"),
        "str-for-bin": (with_element(CLOSE_BODY, 7, pack("e" * 32)), "the evidence as str"),
        "long-str": (
            with_element(CLOSE_BODY, 1, b"\xd9\x05close"),
            "the action's length in a byte of its own",
        ),
        "nil-evidence": (with_element(CLOSE_BODY, 7, b"\xc0"), "no evidence"),
        "evidence-of-31": (with_element(CLOSE_BODY, 7, pack(bytes(31))), "31 bytes of evidence"),
        "ext": (with_element(CLOSE_BODY, 7, b"\xd8\x01" + bytes(16)), "an ext type"),
        "timestamp": (with_element(CLOSE_BODY, 5, b"\xd6\xff" + bytes(4)), "an ext timestamp"),
        "map": (pack({str(n): n for n in range(9)}), "a map"),
        "one-field-short": (joined(parts[:-1]), "eight fields"),
        "one-field-long": (joined([*parts, b"\xc0"]), "ten fields"),
        "trailing-byte": (CLOSE_BODY + b"\x00", "a byte behind the body's array"),
        "truncated": (CLOSE_BODY[:-1], "the last byte is missing"),
        "long-array": (b"\xdc\x00\x09" + CLOSE_BODY[1:], "the array's length in two bytes"),
        "deep-nesting": (b"\x99\x01" + b"\x91" * 300, "arrays 300 deep"),
        "empty": (b"", "no body"),
    }
    for name, (body, says) in changed.items():
        yield _close(f"body-{name}", says, signed("command", body, "engine"), 6)


def _bodies_of_others() -> Iterator[Case]:
    def case(name: str, says: str, type_name: str, body: bytes, *, like: Array) -> Case:
        names = {"payment": "intake", "hello": "agent", "welcome": "engine", "filed": "engine"}
        to_agent = type_name in ("welcome", "filed")
        return Case(
            name=name,
            says=says,
            topic=topic_of(type_name, like),
            receiver=AGENT if to_agent else None,
            payload=signed(type_name, body, names[type_name]),
            verdict={"junk": 6},
        )

    paid = payment()
    item = elements(elements(encode(paid))[4])[0]
    for name, says, place, value in (
        ("payment-of-2-53-paise", "an amount of 2^53", 7, b"\xcf" + (2**53).to_bytes(8, "big")),
        ("payment-of-nothing", "an amount of 0", 7, b"\x00"),
        ("payment-number-0", "numbers begin at 1", 0, b"\x00"),
        ("payment-of-unknown-kind", "kind `gifted`", 2, pack("gifted")),
        ("payment-raw-as-hex", "the raw digest as text", 1, pack("00" * 32)),
    ):
        changed = joined([with_element(item, place, value)])
        body = with_element(encode(paid), 4, changed)
        yield case(name, says, "payment", body, like=paid)
    no_items = with_element(encode(paid), 4, b"\x90")
    yield case("payment-without-items", "an empty list", "payment", no_items, like=paid)
    many = payment(*(payment_item(n, object_id=f"o{n}", raw=bytes(32)) for n in range(1, 66)))
    yield case("payment-of-65-items", "65 items; at most 64", "payment", encode(many), like=many)
    for name, says, place, value in (
        ("hello-window-0", "a window of 0", 14, b"\x00"),
        ("hello-window-65", "a window of 65", 14, pack(65)),
        ("hello-nonce-of-15", "a nonce of 15 bytes", 5, pack(bytes(15))),
    ):
        body = with_element(HELLO_BODY, place, value)
        yield case(name, says, "hello", body, like=hello())
    greeting = BODIES["welcome"][1]
    body = with_element(encode(greeting), 7, pack("fine"))
    yield case("welcome-of-unknown-verdict", "verdict `fine`", "welcome", body, like=greeting)


def _texts() -> Iterator[Case]:
    notes = {
        "non-ascii": ("caf\u00e9".encode(), "a note beyond ASCII"),
        "control-character": (b"a\x07b", "a bell in the note"),
        "newline": (b"line\n", "a newline at the note's end"),
        "delete": (b"a\x7f", "the character 0x7f"),
        "not-utf-8": (b"a\xff", "a byte that is not UTF-8"),
        "of-65": (b"n" * 65, "65 characters; at most 64"),
    }
    for name, (text, says) in notes.items():
        header = bytes((0xA0 | len(text),)) if len(text) < 32 else bytes((0xD9, len(text)))
        body = with_element(STOP_BODY, 2, header + text)
        yield _close(f"text-{name}", says, signed("stop", body, "stop"), 6, topic="stop")
    for name, meter in {
        "newline": f"{METER}\n",
        "lower-case": METER.lower(),
        "empty": "",
        "of-33": "M" * 33,
        "slash": "MET/1",
        "plus": "+",
    }.items():
        body = with_element(CLOSE_BODY, 3, pack(meter))
        says = f"meter {meter!r} in the body"
        yield _close(f"id-{name}", says, signed("command", body, "engine"), 6)
    shouted = encode(command("Close"))
    yield _close("action-capital", "action `Close`", signed("command", shouted, "engine"), 6)
