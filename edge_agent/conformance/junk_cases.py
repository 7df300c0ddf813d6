"""Rows on messages that fail steps 1 to 7: no answer, no movement, and the next good one works.

Each row spoils one good close of an open relay in one way; the first good read behind it is the
fence. The table below is the whole of it.
"""

from collections.abc import Callable, Mapping

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.engine import Engine, Message, Sent
from edge_agent.conformance.installation import NEXT_EPOCH
from edge_agent.conformance.stage import NotSeenError, Stage
from wire.decoding import encode
from wire.documents import Stop
from wire.envelope import Signature, pack, signed_bytes
from wire.topics import command_topic
from wire.vocabulary import Outcome

JUNK = Chapter("junk")
_METER = "METER-5"
_BESIDE = "METER-6"
_LIMIT_BYTES = 512
_ORDER = 2**252 + 27742317777372353535851937790883648493  # of the base point, RFC 8032
Spoil = Callable[[Engine], Message]


def _good(engine: Engine, **changes: object) -> Sent:
    return engine.command("close", _METER, **changes)


def _payload(change: Callable[[bytes], bytes]) -> Spoil:
    """The envelope's bytes are changed."""

    def spoil(engine: Engine) -> Message:
        good = _good(engine)
        return Message(topic=good.topic, payload=change(good.payload))

    return spoil


def _signed_by(*names: str, **changes: object) -> Spoil:
    """A good body under the wrong signatures."""
    return lambda engine: _good(engine, signers=names, **changes)


def _raw_body(change: Callable[[bytes], bytes]) -> Spoil:
    """The body's bytes are changed before they are signed: genuine, and not in the one spelling."""

    def spoil(engine: Engine) -> Message:
        good = _good(engine)
        body = change(encode(good.command))
        payload = engine.installation.seal("command", body, "engine")
        return Message(topic=good.topic, payload=payload)

    return spoil


def _signature(change: Callable[[bytes], bytes]) -> Spoil:
    """The engine's signature is changed."""

    def spoil(engine: Engine) -> Message:
        good = _good(engine)
        body, key = encode(good.command), engine.installation.keys["engine"]
        made = key.sign(signed_bytes(engine.installation.installation, "command", body))
        payload = pack(body, [Signature(key.key_id, change(made))])
        return Message(topic=good.topic, payload=payload)

    return spoil


def _beyond_order(made: bytes) -> bytes:
    beyond = int.from_bytes(made[32:], "little") + _ORDER
    return made[:32] + beyond.to_bytes(32, "little")


def _twice(engine: Engine) -> Message:
    """One signature of one key, twice."""
    good = _good(engine)
    body, key = encode(good.command), engine.installation.keys["engine"]
    made = key.sign(signed_bytes(engine.installation.installation, "command", body))
    one = Signature(key.key_id, made)
    return Message(topic=good.topic, payload=pack(body, [one, one]))


def _descending(engine: Engine) -> Message:
    """Two good signatures, the key ids in descending order."""
    good = _good(engine, signers=("engine", "guard"))
    # [1, body, [[id, signature], [id, signature]]]: two blocks of 77 bytes end the envelope.
    block = 1 + 2 + 8 + 2 + 64
    head, tail = good.payload[: -2 * block], good.payload[-2 * block :]
    return Message(topic=good.topic, payload=head + tail[block:] + tail[:block])


def _bad_guard(engine: Engine) -> Message:
    """A good signature of the engine beside a bad one of the guard."""
    good = _good(engine)
    body, keys = encode(good.command), engine.installation.keys
    signed = signed_bytes(engine.installation.installation, "command", body)
    made = [
        Signature(keys["engine"].key_id, keys["engine"].sign(signed)),
        Signature(keys["guard"].key_id, keys["guard"].sign(signed + b"!")),
    ]
    return Message(topic=good.topic, payload=pack(body, made))


def _of_another_type(engine: Engine) -> Message:
    """The engine signed these bytes as a `filed`."""
    good = _good(engine)
    payload = engine.installation.seal("filed", encode(good.command), "engine")
    return Message(topic=good.topic, payload=payload)


def _another_message(engine: Engine) -> Message:
    """A genuine stop on a command's topic."""
    body = encode(Stop(number_ms=engine.now_ms, note=""))
    payload = engine.installation.seal("stop", body, "engine")
    return Message(topic=_good(engine).topic, payload=payload)


def _of_another_installation(engine: Engine) -> Message:
    """The same keys under another installation id."""
    good = _good(engine)
    elsewhere = engine.installation.elsewhere(lambda size: bytes([0xEE]) * size)
    payload = elsewhere.seal("command", encode(good.command), "engine")
    return Message(topic=good.topic, payload=payload)


def _for_another_agent(engine: Engine) -> Message:
    """The body names another agent than the topic."""
    return Message(topic=_good(engine).topic, payload=_good(engine, agent="AGENT-ELSE").payload)


def _for_another_meter(engine: Engine) -> Message:
    """The body names another meter than the topic."""
    good = _good(engine)
    topic = command_topic(engine.installation.agent, good.command.meter)
    return Message(topic=topic, payload=engine.command("close", _BESIDE).payload)


def _long_form(body: bytes) -> bytes:
    """The body with its version as a uint 8 of two bytes."""
    return body[:1] + b"\xcc\x01" + body[2:]


def _as_bytes(body: bytes) -> bytes:
    """The action `close` as bin instead of str."""
    return body.replace(b"\xa5close", b"\xc4\x05close", 1)


def _as_map(body: bytes) -> bytes:
    """A map where an array must be."""
    return b"\x81\x01" + body


def _signed_form(body: bytes) -> bytes:
    """The version as an int 8, a signed form."""
    return body[:1] + b"\xd0\x01" + body[2:]


def _longer(body: bytes) -> bytes:
    """An array of ten instead of nine."""
    return b"\x9a" + body[1:] + b"\xc0"


ROWS: Mapping[str, tuple[str, str, Spoil]] = {
    "nothing at all": ("step 2", "an empty payload", _payload(lambda _: b"")),
    "text": ("step 2", "JSON", _payload(lambda _: b'{"action": "close"}')),
    "one bit of the body": (
        "step 5",
        "one bit of the body is flipped",
        _payload(lambda good: good[:40] + bytes([good[40] ^ 1]) + good[41:]),
    ),
    "one bit of the signature": (
        "step 5",
        "one bit of the signature is flipped",
        _signature(lambda made: made[:20] + bytes([made[20] ^ 1]) + made[21:]),
    ),
    "signature of zeros": ("step 5", "64 zero bytes", _signature(lambda _: bytes(64))),
    "signature beyond the order": (
        "R24",
        "S + L in the place of S (RFC 8032)",
        _signature(_beyond_order),
    ),
    "short signature": (
        "step 2",
        "a signature of 63 bytes",
        _payload(lambda good: good[:-66] + b"\xc4\x3f" + good[-64:-1]),
    ),
    "truncated": ("step 2", "the last byte is missing", _payload(lambda good: good[:-1])),
    "trailing byte": ("step 2", "one byte more", _payload(lambda good: good + b"\x00")),
    "oversize": (
        "step 1",
        "over 512 bytes",
        _payload(lambda good: good + bytes(_LIMIT_BYTES)),
    ),
    "long-form length": (
        "R24",
        "the body's length as bin 16 in the envelope",
        _payload(lambda good: good[:2] + b"\xc5\x00" + good[3:]),
    ),
    "unknown envelope version": (
        "step 2",
        "envelope version 2",
        _payload(lambda good: good[:1] + b"\x02" + good[2:]),
    ),
    "no signature": (
        "step 2",
        "an envelope without signatures",
        lambda engine: Message(
            topic=_good(engine).topic,
            payload=b"\x93\x01\xc4"
            + bytes([len(encode(_good(engine).command))])
            + encode(_good(engine).command)
            + b"\x90",
        ),
    ),
    "signed as another type": ("R23", "signed as a `filed`", _of_another_type),
    "another message": ("step 5", "a genuine `stop` on a command's topic", _another_message),
    "another installation": (
        "R23",
        "the same keys, another installation",
        _of_another_installation,
    ),
    "guard alone": ("step 4", "signed by the guard alone", _signed_by("guard")),
    "approver": ("step 4", "signed by an approver", _signed_by("anna")),
    "time key": ("step 4", "signed by the role `time`", _signed_by("time")),
    "intake": ("step 4", "signed by an intake", _signed_by("intake")),
    "agent's own key": ("step 4", "signed by the agent's own key", _signed_by("agent")),
    "two engines": ("step 4", "signed by two engine keys", _signed_by("engine", "engine-second")),
    "surplus signature": (
        "step 4",
        "signed by engine, guard and an approver",
        _signed_by("engine", "guard", "anna"),
    ),
    "key that is over": ("step 5", "signed by a key whose life ended", _signed_by("engine-over")),
    "one signature twice": ("step 2", "the same signature twice", _twice),
    "key ids descending": ("step 2", "two good signatures in descending order", _descending),
    "bad second signature": ("step 5", "the engine's is good, the guard's is not", _bad_guard),
    "epoch of another key": (
        "step 7",
        "epoch 4 in the body, signed by a key of epoch 3",
        _signed_by("engine", epoch=NEXT_EPOCH),
    ),
    "another agent": ("step 7", "the body names another agent", _for_another_agent),
    "another meter": ("step 7", "the body names another meter", _for_another_meter),
    "long-form integer": ("R24", "the version as uint 8", _raw_body(_long_form)),
    "signed integer": ("R24", "the version as int 8", _raw_body(_signed_form)),
    "bytes for text": ("R24", "the action as bin", _raw_body(_as_bytes)),
    "map": ("R24", "a map around the body", _raw_body(_as_map)),
    "one field more": ("step 6", "ten fields", _raw_body(_longer)),
    "one field less": (
        "step 6",
        "eight fields",
        _raw_body(lambda body: b"\x98" + body[1:-1]),
    ),
    "byte behind the body": (
        "R24",
        "a byte behind the body",
        _raw_body(lambda body: body + b"\xc0"),
    ),
    "unknown body version": (
        "R25",
        "body version 2",
        _raw_body(lambda body: body[:1] + b"\x02" + body[2:]),
    ),
    "action in capitals": (
        "step 6",
        "the action `CLOSE`",
        _raw_body(lambda body: body.replace(b"close", b"CLOSE", 1)),
    ),
    "evidence of 31 bytes": (
        "step 6",
        "evidence one byte short",
        _raw_body(lambda body: body.replace(b"\xc4\x20" + bytes(32), b"\xc4\x1f" + bytes(31), 1)),
    ),
    "time beyond 2^48": (
        "step 6",
        "expiry 2^48",
        _raw_body(lambda body: body[:-44] + b"\xcf" + (2**48).to_bytes(8) + body[-35:]),
    ),
}


def _row(name: str, rule: str, sent: str, spoil: Spoil) -> None:
    seen = "no answer, not moved; the next good command is answered"

    @JUNK.row(name, rule, sent, seen)
    async def _(stage: Stage) -> None:
        before, beside = stage.place(_METER), stage.place(_BESIDE)
        told_of = len(stage.book.items)
        stage.replay(spoil(stage.engine))
        await stage.fence(_METER)
        more = len(stage.book.items) - told_of
        if more != 1:
            raise NotSeenError(f"{more - 1} items were made of it")
        stage.moved(_METER, before, 0)
        stage.moved(_BESIDE, beside, 0)


for _name, (_rule, _sent, _spoil) in ROWS.items():
    _row(_name, _rule, _sent, _spoil)


@JUNK.row(
    "retained",
    "step 3",
    "the broker forgets the session and delivers a good close with the retained flag",
    "no answer, not moved; the agent subscribes again, and the same bytes without the flag work",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    before = stage.place(_METER)
    stage.line.is_up = False
    stage.line.cut()
    await stage.forget_session()
    planted = _good(stage.engine)
    await stage.engine.publish(planted, retain=True)
    stage.line.is_up = True
    try:
        await stage.next_hello(1)
        await stage.no_answer(planted)
    finally:
        await stage.engine.publish(Message(topic=planted.topic, payload=b""), retain=True)
    stage.moved(_METER, before, 0)
    stage.replay(planted)
    await stage.outcome(planted, Outcome.CLOSED)
    stage.moved(_METER, before, 1)
