"""Messages whose answer depends on the ones before them: told step by step, from a named state.

A step delivers a message (or restarts the process) and says what must be seen afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.wire.bodies import (
    CLOSE,
    HEADS,
    RESUME,
    STOP,
    WATERMARK,
    acknowledgement,
    command,
    filed,
    hello,
    message_id,
    payment,
    payment_item,
    welcome,
)
from tests.wire.case import topic_of
from tests.wire.installation import (
    EPOCH,
    GENERATION_MS,
    JOURNAL,
    MINUTE_MS,
    NEXT_NONCE,
    NOW_MS,
    OTHER_JOURNAL,
    made_up,
)
from tests.wire.junk_signers import replaced
from tests.wire.spelling import signed
from wire.decoding import encode

SIGNERS = {
    "hello": ("agent",),
    "acknowledgement": ("agent",),
    "payment": ("intake",),
    "watermark": ("intake",),
    "stop": ("stop",),
    "resume": ("approver-1", "approver-2"),
}
ORDER_OF_HISTORY = [1, 2, 3, 4, 5, 6]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event and what it must lead to."""

    says: str
    expect: dict[str, Any]
    event: str = "deliver"
    topic: str | None = None
    payload: bytes | None = None
    at_ms: int = NOW_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """Steps in their order; `needs` and `given` as in the negative vectors."""

    name: str
    needs: str
    steps: tuple[Step, ...]
    given: dict[str, Any] = field(default_factory=dict)


def deliver(says: str, body: Any, expect: dict[str, Any], **fields: Any) -> Step:
    type_name = type(body).__name__.lower()
    names = fields.pop("names", SIGNERS.get(type_name, ("engine",)))
    payload = signed(type_name, encode(body), *names)
    topic = topic_of(type_name, body)
    return Step(says=says, topic=topic, payload=payload, expect=expect, **fields)


def answered(body: Any, outcome: str, reason: str | None = None) -> dict[str, Any]:
    """One final item about this command; `moves` of the relay are counted in all."""
    found = {"command": message_id("command", body), "outcome": outcome, "reason": reason}
    return {"answer": found}


def all_sequences() -> Iterator[Sequence]:
    yield from _commands()
    yield from _welcomes()
    yield from _stops()
    yield from _filing()
    yield from _refunds()
    yield from _payments()
    yield from _hellos()


def _commands() -> Iterator[Sequence]:
    later = command(sequence_ms=NOW_MS + 1)
    low = answered(CLOSE, "refused", "low_counter")
    yield Sequence(
        name="refused-then-replayed",
        needs="agent",
        steps=(
            deliver("a newer close is carried out", later, answered(later, "closed")),
            deliver("an older one is refused", CLOSE, low),
            deliver("the same bytes: the stored answer, the same item number", CLOSE, low),
            Step(says="the process restarts", event="restart", expect={"moves": 1}),
            deliver("a welcome of the new boot", welcome(nonce=NEXT_NONCE), {"taken": "all"}),
            deliver("still the stored answer: a refusal is final", CLOSE, {**low, "moves": 1}),
        ),
    )
    yield Sequence(
        name="close-delivered-three-times",
        needs="agent",
        steps=(
            deliver("carried out", CLOSE, {**answered(CLOSE, "closed"), "moves": 1}),
            deliver("the stored answer", CLOSE, {**answered(CLOSE, "closed"), "moves": 1}),
            deliver("the stored answer", CLOSE, {**answered(CLOSE, "closed"), "moves": 1}),
        ),
    )
    withdraw = command("withdraw", sequence_ms=NOW_MS + 1)
    yield Sequence(
        name="withdraw-before-the-close-it-withdraws",
        needs="agent",
        steps=(
            deliver("nothing waits", withdraw, answered(withdraw, "nothing_pending")),
            deliver("the close comes late", CLOSE, {**low, "moves": 0}),
        ),
    )
    yield Sequence(
        name="command-before-the-welcome",
        needs="agent",
        given={"has_welcome": False},
        steps=(
            deliver("dropped without a trace", CLOSE, {"not_now": True, "moves": 0}),
            deliver("the welcome", welcome(), {"taken": "all"}),
            deliver("the re-send of the same bytes", CLOSE, answered(CLOSE, "closed")),
        ),
    )


def _welcomes() -> Iterator[Sequence]:
    raised = welcome(floor_sequence=NOW_MS + 30_000, now_ms=NOW_MS + 1)
    yield Sequence(
        name="two-welcomes-one-nonce",
        needs="agent",
        given={"has_welcome": False},
        steps=(
            deliver("the first is taken", welcome(), {"floor": [EPOCH, NOW_MS - 1_000]}),
            deliver(
                "the second is ignored: its nonce is used",
                raised,
                {"ignored": True, "floor": [EPOCH, NOW_MS - 1_000]},
            ),
        ),
    )
    yield Sequence(
        name="welcome-of-the-boot-before",
        needs="agent",
        given={"has_welcome": False},
        steps=(
            Step(says="the process restarts", event="restart", expect={"moves": 0}),
            deliver("its nonce is of the boot before", welcome(), {"ignored": True}),
            deliver("so there is no time yet", CLOSE, {"not_now": True, "moves": 0}),
        ),
    )


def _stops() -> Iterator[Sequence]:
    whole = command("open")
    older = replaced(RESUME, lifts_ms=NOW_MS - 1)
    second = command("open", sequence_ms=NOW_MS + 2)
    yield Sequence(
        name="stop-older-resume-newer-resume",
        needs="agent",
        given={"since_close_ms": None},
        steps=(
            deliver("opens freeze", STOP, {"is_frozen": True}),
            deliver("it lifts less", older, {"is_frozen": True}),
            deliver(
                "an open is refused",
                whole,
                answered(whole, "refused", "stop"),
                names=("engine", "guard"),
            ),
            deliver("it lifts the stop", RESUME, {"is_frozen": False}),
            deliver("the stop again: it is lifted", STOP, {"is_frozen": False}),
            deliver(
                "the refused open stays refused",
                whole,
                answered(whole, "refused", "stop"),
                names=("engine", "guard"),
            ),
            deliver(
                "another open goes through",
                second,
                answered(second, "opened"),
                names=("engine", "guard"),
            ),
        ),
    )


def _filing() -> Iterator[Sequence]:
    late = acknowledgement(3, 3)
    other = acknowledgement(4, 6, before=made_up("another history", 32))
    yield Sequence(
        name="filed-with-a-gap",
        needs="engine",
        steps=(
            deliver("items 1 and 2", acknowledgement(1, 2), {"filed": [2, HEADS[2]]}),
            deliver("4 to 6: stored, not counted", acknowledgement(4, 6), {"filed": [2, HEADS[2]]}),
            deliver("3 fills the gap", late, {"filed": [6, HEADS[6]]}),
            deliver("3 again changes nothing", late, {"filed": [6, HEADS[6]]}),
        ),
    )
    yield Sequence(
        name="history-forked",
        needs="engine",
        steps=(
            deliver("items 1 to 3", acknowledgement(1, 3), {"filed": [3, HEADS[3]]}),
            deliver(
                "4 to 6 of another chain: both versions are kept",
                other,
                {"filed": [3, HEADS[3]], "alarm": "history_forked", "opens_suspended": True},
            ),
        ),
    )
    restored = GENERATION_MS + 60_000
    forget = {"re_sent": ORDER_OF_HISTORY, "generation_ms": restored}
    yield Sequence(
        name="generation-rises",
        needs="agent",
        given={"made": 6, "head": HEADS[6], "filed_through": 6},
        steps=(
            deliver(
                "a ledger restored from a backup: everything kept is offered again",
                filed(through=0, generation_ms=restored),
                forget,
            ),
            deliver("the old ledger's word no longer counts", filed(), {"ignored": True}),
        ),
    )


def _refunds() -> Iterator[Sequence]:
    def refund(number: int, object_id: str, amount: int) -> Any:
        fields = {"kind": "refunded", "object_id": object_id, "amount_paise": amount}
        return payment(payment_item(number, **{**fields, "payment_id": payment_item().payment_id}))

    yield Sequence(
        name="two-partial-refunds",
        needs="engine",
        steps=(
            deliver("the payment", payment(), {"receipt": [[4_711, "stored"]]}),
            deliver(
                "Rs 500 back", refund(4_712, "rfnd_1", 50_000), {"receipt": [[4_712, "stored"]]}
            ),
            deliver(
                "Rs 500 back once more: another fact of the same payment",
                refund(4_713, "rfnd_2", 50_000),
                {"receipt": [[4_713, "stored"]]},
            ),
            deliver(
                "the first refund, reported again under a new number",
                refund(4_714, "rfnd_1", 50_000),
                {"receipt": [[4_714, "duplicate"]], "posted_facts": 3},
            ),
            deliver(
                "the first refund with another amount: one of the two is wrong",
                refund(4_715, "rfnd_1", 60_000),
                {"receipt": [[4_715, "quarantined"]], "alarm": True, "posted_facts": 3},
            ),
        ),
    )


def _payments() -> Iterator[Sequence]:
    other_amount = payment(payment_item(4_712, amount_paise=1))
    other_raw = payment(payment_item(raw=made_up("another report", 32)))
    yield Sequence(
        name="payment-told-twice",
        needs="engine",
        steps=(
            deliver("the payment", payment(), {"receipt": [[4_711, "stored"]]}),
            deliver("the same message", payment(), {"receipt": [[4_711, "duplicate"]]}),
            deliver(
                "the same object, another amount",
                other_amount,
                {"receipt": [[4_712, "quarantined"]]},
            ),
            deliver(
                "the same number, another report",
                other_raw,
                {"quarantined": [4_711], "alarm": True, "posted_facts": 1},
            ),
        ),
    )
    ahead = replaced(WATERMARK, made=4_712)
    yield Sequence(
        name="watermark-one-number-above-stored",
        needs="engine",
        steps=(
            deliver("4,711 is stored", payment(), {"receipt": [[4_711, "stored"]]}),
            deliver("4,712 was made and is not here", ahead, {"opens_allowed": False}),
            deliver(
                "4,712 arrives",
                payment(payment_item(4_712, "pay_OyT9aaaaaaaaaa")),
                {"receipt": [[4_712, "stored"]], "opens_allowed": True},
            ),
        ),
    )


def _hellos() -> Iterator[Sequence]:
    def greeting(**fields: Any) -> Any:
        names = ("boot", "number", "journal")
        nonce = made_up("nonce " + " ".join(str(fields.get(name)) for name in names), 16)
        return hello(nonce=nonce, **fields)

    newer = {"journal": OTHER_JOURNAL, "head": made_up("head of the other journal", 32)}
    yield Sequence(
        name="hellos-in-order-and-out-of-it",
        needs="engine",
        given={"journal": JOURNAL, "highest_hello": [5, 8]},
        steps=(
            deliver("boot 5, number 9", greeting(number=9), {"welcome": "known"}),
            deliver("boot 5, number 9 again", greeting(number=9), {"ignored": True}),
            deliver("boot 4: rolled back", greeting(boot=4), {"welcome": "rolled_back"}),
            deliver(
                "a new journal",
                greeting(boot=1, number=1, **newer),
                {"welcome": "new", "raised_floor": True},
                at_ms=NOW_MS + 2 * MINUTE_MS,
            ),
            deliver(
                "the old journal is retired for ever",
                greeting(boot=6, number=1),
                {"welcome": "retired"},
                at_ms=NOW_MS + 4 * MINUTE_MS,
            ),
        ),
    )
