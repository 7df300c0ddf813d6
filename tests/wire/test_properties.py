"""Properties of encoding, envelope and topics, over values and bytes nobody chose."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.wire import vectors
from wire import topics
from wire.checking import Junk, check
from wire.decoding import (
    BODY_TYPES,
    ITEM_TYPES,
    decode_body,
    decode_item,
    decode_trust,
    encode,
)
from wire.documents import Identity, Registry, Root
from wire.envelope import MalformedError, seal, unpack
from wire.fields import Array
from wire.topics import SHAPES, MessageType, NotATopicError, parse
from wire.vocabulary import RefusalReason

ALL_TYPES = (*BODY_TYPES.values(), *ITEM_TYPES.values(), Root, Registry, Identity)
IDS = st.from_regex(r"[A-Z0-9][A-Z0-9-]{0,31}", fullmatch=True)
LOOSE = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=64)


def strategy_of(info: Any) -> st.SearchStrategy[Any]:
    """Values of one field, from what msgspec says about its type and limits."""
    kinds = {
        "LiteralType": lambda: st.sampled_from(info.values),
        "BoolType": st.booleans,
        "NoneType": st.none,
        "IntType": lambda: integers(info),
        "StrType": lambda: st.from_regex(info.pattern, fullmatch=False),
        "BytesType": lambda: st.binary(
            min_size=info.min_length or 0, max_size=info.max_length or 9
        ),
        "EnumType": lambda: st.sampled_from(list(info.cls)),
        "UnionType": lambda: st.one_of([strategy_of(one) for one in info.types]),
        "VarTupleType": lambda: lists(info),
        "StructType": lambda: bodies(info.cls),
        "RawType": lambda: st.sampled_from([msgspec.Raw(b"\x01"), msgspec.Raw(b"\x92\x01\xc0")]),
        "CustomType": lambda: st.just(msgspec.Raw(b"\x01")),
    }
    kind = type(info).__name__
    return kinds["RawType" if getattr(info, "cls", None) is msgspec.Raw else kind]()


def integers(info: Any) -> st.SearchStrategy[int]:
    lowest = info.ge if info.ge is not None else info.gt + 1
    highest = info.le if info.le is not None else info.lt - 1
    return st.integers(lowest, highest)


def lists(info: Any) -> st.SearchStrategy[Any]:
    longest = min(info.max_length or 3, 3)
    values = strategy_of(info.item_type)
    return st.lists(values, min_size=info.min_length or 0, max_size=longest).map(tuple)


def bodies(body_type: type[Array]) -> st.SearchStrategy[Any]:
    fields = msgspec.inspect.type_info(body_type).fields
    return st.fixed_dictionaries({one.name: strategy_of(one.type) for one in fields}).map(
        lambda values: body_type(**values)
    )


@pytest.mark.parametrize("body_type", ALL_TYPES, ids=lambda one: one.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_body_is_read_back_as_it_was_written(body_type, data):
    body = data.draw(bodies(body_type))
    assert decode_body(body_type, encode(body)) == body


CLOSE = vectors.envelope("command-close")


def verdict_on(payload, topic=CLOSE["topic"]):
    return check(
        vectors.Message(topic, payload),
        vectors.keyring(),
        at_ms=CLOSE["at_ms"],
        receiver=CLOSE["receiver"],
    )


def test_any_single_flipped_bit_makes_a_command_junk():
    payload = CLOSE["payload"]
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(verdict_on(bytes(flipped)), Junk), f"bit {bit}"


def test_any_truncated_command_is_junk():
    payload = CLOSE["payload"]
    for length in range(len(payload)):
        assert isinstance(verdict_on(payload[:length]), Junk), f"{length} bytes"


@given(tail=st.binary(min_size=1, max_size=300))
def test_anything_behind_a_command_makes_it_junk(tail):
    assert isinstance(verdict_on(CLOSE["payload"] + tail), Junk)


@given(payload=st.binary(max_size=600), name=st.sampled_from([*SHAPES]))
def test_random_bytes_are_junk_and_never_raise(payload, name):
    row = next(one for one in vectors.envelopes() if one["type"] == name) if name != "trust" else {}
    assert isinstance(verdict_on(payload, row.get("topic") or "trust"), Junk)


@settings(deadline=None)
@given(body=st.binary(max_size=300), type_name=st.sampled_from(["command", "stop", "filed"]))
def test_any_body_under_a_good_signature_is_judged_and_never_raises(body, type_name):
    engine = vectors.signing_key("engine")
    payload = seal(vectors.installation(), type_name, body, [engine])
    assume(len(payload) <= SHAPES[MessageType(type_name)].limit_bytes)
    topic = vectors.envelope("stop" if type_name == "stop" else "filed")["topic"]
    topic = CLOSE["topic"] if type_name == "command" else topic
    assert isinstance(verdict_on(payload, topic), Junk)


# Bytes that look like msgpack reach further into a decoder than random ones.
PIECES = st.sampled_from(
    [
        *(bytes((one,)) for one in b"\x90\x92\x93\x99\x9e\x01\x7f\xc0\xc1\xc3\xe0"),
        *(b"\xc4\x00", b"\xc6\xff", b"\xa1a", b"\xa1\xff", b"\xd9\x01b", b"\xd4\x01\x00"),
        *(b"\xcb" + bytes(8), b"\xcf" + bytes(8), b"\xdd\xff\xff\xff\xff", b"\x91" * 300),
        *(b"\xa7command", b"\xa8received", b"\xa5state"),
    ]
)


@settings(max_examples=300)
@given(pieces=st.lists(PIECES, max_size=12))
def test_bytes_like_msgpack_raise_nothing_but_malformed(pieces):
    payload = b"".join(pieces)
    for read in (unpack, decode_trust, decode_item):
        with contextlib.suppress(MalformedError):
            read(payload)
    for body_type in ALL_TYPES:
        with contextlib.suppress(MalformedError):
            decode_body(body_type, payload)


@given(agent=IDS, meter=IDS, intake=IDS, provider=IDS, payment_id=LOOSE)
def test_topics_are_taken_apart_into_what_they_were_made_of(
    agent, meter, intake, provider, payment_id
):
    shard = topics.payment_shard(provider, payment_id)
    paid = parse(topics.payment_topic(shard, provider))
    assert (paid.shard, paid.provider) == (shard, provider)
    assert parse(topics.receipt_topic(intake)).intake == intake
    assert parse(topics.watermark_topic(intake)).intake == intake
    command = parse(topics.command_topic(agent, meter))
    assert (command.agent, command.meter) == (agent, meter)
    for made in (topics.hello_topic(agent), topics.acknowledgement_topic(agent)):
        assert (parse(made).agent, parse(made).shard) == (agent, topics.agent_shard(agent))
    for message_type in (MessageType.WELCOME, MessageType.TRUST, MessageType.ROSTER):
        directed = parse(topics.directed_topic(message_type, agent))
        assert (directed.message_type, directed.agent) == (message_type, agent)


@given(topic=st.one_of(st.text(max_size=80), st.lists(IDS, max_size=4).map("/".join)))
def test_any_text_as_topic_is_taken_apart_or_is_no_topic(topic):
    with contextlib.suppress(NotATopicError):
        parse(topic)


@given(
    first=st.sampled_from([one.value for one in MessageType]),
    rest=st.lists(st.one_of(IDS, st.text(max_size=5)), max_size=3),
)
def test_what_passes_as_topic_is_built_of_ids(first, rest):
    try:
        parsed = parse("/".join([first, *rest]))
    except NotATopicError:
        return
    for value in (parsed.agent, parsed.meter, parsed.intake, parsed.provider):
        assert value is None or topics.is_id(value)


@given(text=st.text(max_size=40))
def test_id_is_an_id_in_topics_exactly_when_it_is_one_in_bodies(text):
    row = vectors.envelope("command-close")
    body_type = BODY_TYPES[MessageType.COMMAND]
    command = decode_body(body_type, unpack(row["payload"]).body)
    encoded = encode(msgspec.structs.replace(command, meter=text))
    try:
        decode_body(body_type, encoded)
        is_in_bodies = True
    except MalformedError:
        is_in_bodies = False
    assert topics.is_id(text) == is_in_bodies


def test_refusal_reasons_fit_the_field_that_carries_them():
    assert all(len(reason) <= 32 and reason.isascii() for reason in RefusalReason)
