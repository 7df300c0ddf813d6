"""Acknowledgements that are junk by one of their items: step 6 reaches into the items."""

from collections.abc import Iterator

from tests.wire.bodies import ITEMS, acknowledgement
from tests.wire.case import Case, topic_of
from tests.wire.spelling import elements, joined, pack, signed, with_element
from wire.decoding import encode

COMMAND = encode(ITEMS["item-command"])
STATE = encode(ITEMS["item-state"])
RECEIVED = encode(ITEMS["item-received"])


def all_cases() -> Iterator[Case]:
    relay = elements(COMMAND)[9]
    lists = {
        "long-number": ([with_element(COMMAND, 0, b"\xcc\x01")], "number 1 in two bytes"),
        "number-0": ([with_element(COMMAND, 0, b"\x00")], "numbers begin at 1"),
        "unknown-kind": ([with_element(COMMAND, 1, pack("rumour"))], "kind `rumour`"),
        "no-kind": ([b"\x91\x01"], "an item of one field"),
        "not-an-array": ([b"\x01"], "an item that is a number"),
        "unknown-outcome": ([with_element(COMMAND, 6, pack("done"))], "outcome `done`"),
        "output-as-integer": (
            [with_element(COMMAND, 9, with_element(relay, 0, b"\x01"))],
            "a relay's output as 1: it is a bool, the only one",
        ),
        "control-state-3": (
            [with_element(COMMAND, 9, with_element(relay, 1, b"\x03"))],
            "control_state 3",
        ),
        "one-field-short": ([joined(elements(STATE)[:-1])], "a state item of six fields"),
        "gap-in-numbers": ([COMMAND, STATE], "items 1 and 4: a message's items are consecutive"),
        "numbers-descending": (
            [STATE, RECEIVED],
            "items 4 and 3: a message's items are consecutive",
        ),
        "none": ([], "an empty list"),
        "sixty-five": (
            [encode_received(number) for number in range(1, 66)],
            "65 items; at most 64",
        ),
    }
    body = encode(acknowledgement())
    for name, (items, says) in lists.items():
        changed = with_element(body, 5, joined(items))
        yield Case(
            name=f"items-{name}",
            says=says,
            topic=topic_of("acknowledgement", acknowledgement()),
            receiver=None,
            payload=signed("acknowledgement", changed, "agent"),
            verdict={"junk": 6},
        )


def encode_received(number: int) -> bytes:
    return with_element(RECEIVED, 0, pack(number))
