"""The engine's side of the wire, as small as an intake needs it."""

from dataclasses import dataclass

from tests.cloud.intake.reports import captured, genuine
from tests.wire.installation import (
    GENERATION_MS,
    INTAKE,
    NOW_MS,
    SPOOL,
    keyring,
    sealed,
)
from wire.checking import Checked, check
from wire.decoding import encode
from wire.messages import Receipt, ReceiptItem
from wire.vocabulary import ReceiptVerdict


@dataclass
class Delivered:
    topic: str
    payload: bytes
    is_retained: bool = False


class Engine:
    """The other side: verifies as an engine does, remembers what came, can answer."""

    def __init__(self):
        self.items = {}
        self.messages = []

    def take(self, outgoing):
        numbers = []
        for one in outgoing:
            checked = check(Delivered(one.topic, one.payload), keyring(), at_ms=NOW_MS)
            assert isinstance(checked, Checked), checked
            self.messages.append(checked.message)
            for item in checked.message.items:
                self.items[item.number] = item
                numbers.append(item.number)
        return numbers

    def receipt(self, *numbers, raw16=None, signer="engine", **changes):
        items = tuple(
            ReceiptItem(
                number=number,
                raw16=raw16 or self.items[number].raw[:16],
                verdict=ReceiptVerdict.STORED,
            )
            for number in numbers
        )
        fields = {"intake": INTAKE, "spool": SPOOL, "generation_ms": GENERATION_MS} | changes
        body = encode(Receipt(items=items, **fields))
        return Delivered(f"receipt/{fields['intake']}", sealed("receipt", body, signer))


def settle(forwarder, spool):
    marks = forwarder.unsaved()
    if marks is not None:
        spool.save(marks)
        forwarder.saved(marks)


def watermark_in(outgoing):
    checked = check(Delivered(outgoing.topic, outgoing.payload), keyring(), at_ms=NOW_MS)
    assert isinstance(checked, Checked), checked
    return checked.message


def take_in(spool, *numbers, **changes):
    spool.take_in([genuine(captured(number, **changes)) for number in numbers])
