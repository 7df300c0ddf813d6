"""Genuine messages that only a state can judge: what an agent, an engine or an intake must say.

The state is told as facts in `given`; what is not told is as in STATE.
"""

from collections.abc import Iterator
from typing import Any

from tests.wire.bodies import (
    COMMAND_ITEM,
    HEADS,
    RECEIPT,
    RESUME,
    STOP,
    WATERMARK,
    acknowledgement,
    command,
    filed,
    hello,
    raw,
    welcome,
)
from tests.wire.case import Case, topic_of
from tests.wire.installation import (
    AGENT,
    DAY_MS,
    EPOCH,
    FOREIGN_METER,
    GENERATION_MS,
    INTAKE,
    JOURNAL,
    METER,
    MINUTE_MS,
    NEXT_NONCE,
    NONCE,
    NOW_MS,
    OTHER_JOURNAL,
    OTHER_METER,
    REGISTRY,
    SPOOL,
    made_up,
)
from tests.wire.junk_signers import replaced
from tests.wire.spelling import signed
from wire.decoding import encode
from wire.messages import CommandItem, ReceiptItem
from wire.vocabulary import ReceiptVerdict

HOUR_MS = 60 * MINUTE_MS
FLOOR = [EPOCH, NOW_MS - 1_000]
TWO = ("engine", "guard")
ENGINE = ("engine",)

# The agent of every case, unless `given` says otherwise. Times are of the agent's own clock.
AGENT_STATE: dict[str, Any] = {
    "agent": AGENT,
    "journal": JOURNAL,
    "boot": 5,
    "nonces": [NONCE, NEXT_NONCE],  # of its hellos, one for each boot from this one on
    "generation_ms": GENERATION_MS,
    "has_welcome": True,
    "welcome_age_ms": 0,
    "is_time_disputed": False,
    "earliest_ms": NOW_MS,
    "latest_ms": NOW_MS,
    "floor": FLOOR,
    "highest": None,
    "known_meters": [METER, OTHER_METER],
    "outstanding": 0,
    "window": 32,
    "stop_ms": 0,
    "lifted_ms": 0,
    "registry_version": REGISTRY.registry_version,
    "registry_expires_at_ms": REGISTRY.expires_at_ms,
    "welcome_trust_version": REGISTRY.registry_version,
    "roster_version": 0,
    "protected_meters": [],
    "guarded_meters": [],
    "manifests": [],  # held: for how long (running time), until when, for which, used for which
    "running_ms": 30 * DAY_MS,
    "since_close_ms": None,
    "meter_opens": 0,
    "agent_opens": 0,
    "reached": 500,
    "made": 0,
    "head": HEADS[0],
    "filed_through": 0,
}
# A journal of the six items of chain.json; it knows the command that item 1 ended.
SIX_ITEMS: dict[str, Any] = {"made": 6, "head": HEADS[6]}
INTAKE_STATE: dict[str, Any] = {
    "intake": INTAKE,
    "spool": SPOOL,
    "generation_ms": GENERATION_MS,
    "unreceipted": {"4711": made_up("raw report 4711", 32)},
}
ENGINE_STATE: dict[str, Any] = {
    "generation_ms": GENERATION_MS,
    "now_ms": NOW_MS,
    "journal": JOURNAL,
    "highest_hello": [5, 8],
    "highest_nonce": NONCE,  # of that hello
    "filed_through": 0,
    "spool": SPOOL,
    "stored_through": 4_710,
    "live_commands": ["command-close"],
}
STATES = {"agent": AGENT_STATE, "intake": INTAKE_STATE, "engine": ENGINE_STATE}


def all_cases() -> Iterator[Case]:
    yield from _not_now()
    yield from _counters_and_lives()
    yield from _keys_and_meters()
    yield from _marks_at_the_agent()
    yield from _at_the_intake()
    yield from _at_the_engine()


def case_of(name: str, says: str, body: Any, verdict: dict[str, Any], **fields: Any) -> Case:
    type_name = type(body).__name__.lower()
    names = fields.pop("names", ENGINE)
    whole = {
        "needs": "agent",
        "topic": topic_of(type_name, body),
        "payload": signed(type_name, encode(body), *names),
        **fields,
    }
    return Case(name=name, says=says, verdict=verdict, **whole)


def refusal(reason: str, name: str, says: str, body: Any, **fields: Any) -> Case:
    return case_of(name, says, body, {"refused": reason}, **fields)


def later(by_ms: int, **given: Any) -> dict[str, Any]:
    """Fields of a case that happens later than NOW."""
    at_ms = NOW_MS + by_ms
    times = {"earliest_ms": at_ms, "latest_ms": at_ms}
    return {"at_ms": at_ms, "given": {**times, **given}}


def _not_now() -> Iterator[Case]:
    for name, says, given in (
        ("before-any-welcome", "no welcome in this boot", {"has_welcome": False}),
        ("welcome-a-day-old", "the last welcome is over 24 h old", {"welcome_age_ms": DAY_MS + 1}),
        ("window-full", "32 commands are outstanding", {"outstanding": 32}),
    ):
        yield case_of(f"not-now-{name}", says, command(), {"not_now": True}, given=given)
    says = "the same, but a withdraw is never counted"
    full = {"outstanding": 32}
    yield case_of(
        "withdraw-in-full-window", says, command("withdraw"), {"accepted": True}, given=full
    )


def _counters_and_lives() -> Iterator[Case]:
    at = command(sequence_ms=FLOOR[1], expires_at_ms=NOW_MS + MINUTE_MS)
    yield refusal("before_welcome", "below-floor", "the counter is the floor", at)
    low_epoch = {"floor": [EPOCH + 1, 0]}
    says = "the floor has a higher epoch"
    yield refusal("before_welcome", "below-floor-epoch", says, command(), given=low_epoch)
    above = command(sequence_ms=FLOOR[1] + 1, expires_at_ms=NOW_MS + MINUTE_MS)
    yield case_of("just-above-floor", "one above the floor", above, {"accepted": True})
    read = command("read", sequence_ms=FLOOR[1], expires_at_ms=NOW_MS + MINUTE_MS)
    yield refusal("before_welcome", "read-below-floor", "a read keeps the floor too", read)
    highest = {"highest": [EPOCH, NOW_MS]}
    says = "the meter's highest counter is this one"
    yield refusal("low_counter", "low-counter", says, command(), given=highest)
    says = "a read does not look at the highest counter"
    yield case_of("read-at-highest", says, command("read"), {"accepted": True}, given=highest)
    ahead = command(sequence_ms=NOW_MS + 61_000, expires_at_ms=NOW_MS + 5 * MINUTE_MS)
    yield refusal("from_future", "sequence-61-s-ahead", "60 s ahead is the most", ahead)
    edge = command(sequence_ms=NOW_MS + 60_000, expires_at_ms=NOW_MS + 5 * MINUTE_MS)
    yield case_of("sequence-60-s-ahead", "60 s ahead is allowed", edge, {"accepted": True})
    for action, life, names in (("close", 900_000, ENGINE), ("open", 600_000, TWO)):
        for over in (0, 1):
            body = command(action, expires_at_ms=NOW_MS + life + over)
            name = f"{action}-life-{life + over}"
            verdict = {"refused": "life_too_long"} if over else {"accepted": True}
            yield case_of(name, f"a life of {life + over} ms", body, verdict, names=names)
    life = 15 * MINUTE_MS
    yield refusal("expired", "expired", "latest is its expiry", command(), **later(life))
    says = "one millisecond of life left, by the latest time"
    yield case_of("not-yet-expired", says, command(), {"accepted": True}, **later(life - 1))


def _keys_and_meters() -> Iterator[Case]:
    foreign = command(meter=FOREIGN_METER)
    yield refusal("unknown_meter", "unknown-meter", "a meter this agent does not have", foreign)
    explode = command("explode")
    yield refusal("unknown_action", "unknown-action", "no such action", explode)
    for action in ("open", "disarm", "unguarded"):
        says = f"{action} signed by the engine only"
        yield refusal("missing_guard", f"{action}-by-engine-only", says, command(action))
    for action, names in {
        "arm": ENGINE,
        "guarded": ENGINE,
        "disarm": TWO,
        "unguarded": TWO,
    }.items():
        says = "signed as it must be"
        yield case_of(f"{action}-accepted", says, command(action), {"accepted": True}, names=names)
    given = {"guarded_meters": [METER]}
    for action in ("close", "arm"):
        says = f"{action} of a guarded meter by the engine only"
        yield refusal("guarded", f"{action}-of-guarded-meter", says, command(action), given=given)
        says = "by engine and guard"
        name = f"{action}-of-guarded-meter-by-both"
        yield case_of(name, says, command(action), {"accepted": True}, names=TWO, given=given)
    says = "a guard's signature where none is demanded is accepted"
    yield case_of("close-by-engine-and-guard", says, command(), {"accepted": True}, names=TWO)


def _marks_at_the_agent() -> Iterator[Case]:
    ahead = welcome(floor_sequence=NOW_MS + HOUR_MS)
    verdict = {"taken": "all but the floor", "floor": FLOOR}
    says = "a floor over 60 s ahead of the now beside it is not believed"
    yield case_of("welcome-floor-an-hour-ahead", says, ahead, verdict)
    other = welcome(floor_epoch=EPOCH + 1, floor_sequence=0)
    says = "a floor of an epoch that is not the signing key's is not believed"
    yield case_of("welcome-floor-of-epoch-4", says, other, verdict)
    unknown = welcome(nonce=made_up("nobody's nonce", 16))
    says = "it answers no hello of this boot"
    yield case_of("welcome-unknown-nonce", says, unknown, {"ignored": True})
    for name, says, body, verdict in (
        ("another-journal", "another journal", filed(journal=OTHER_JOURNAL), {"ignored": True}),
        (
            "lower-generation",
            "a lower generation than the agent has seen",
            filed(generation_ms=GENERATION_MS - 1),
            {"ignored": True},
        ),
        (
            "wrong-head",
            "the head differs from the agent's own: nothing is trimmed",
            filed(head=HEADS[5]),
            {"ignored": True, "alarm": "history_forked"},
        ),
        (
            "more-than-made",
            "through 7, but the agent made 6: this journal was rolled back",
            filed(through=7, head=made_up("head 7", 32)),
            {"ignored": True, "alarm": "history_forked"},
        ),
    ):
        yield case_of(f"filed-of-{name}", says, body, verdict, given=SIX_ITEMS)
    older = replaced(RESUME, lifts_ms=NOW_MS - 1)
    says = "it lifts stops up to one millisecond before the one that holds"
    verdict = {"is_frozen": True, "stop_ms": NOW_MS, "lifted_ms": NOW_MS - 1}
    names = ("approver-1", "approver-2")
    given = {"stop_ms": NOW_MS}
    yield case_of("resume-older-than-stop", says, older, verdict, names=names, given=given)
    far = replaced(STOP, number_ms=NOW_MS + HOUR_MS)
    says = "a stop numbered over 60 s ahead is ignored and alarmed"
    verdict = {"ignored": True, "alarm": "stop_from_future"}
    yield case_of("stop-an-hour-ahead", says, far, verdict, names=("stop",))
    far = replaced(RESUME, lifts_ms=NOW_MS + HOUR_MS)
    says = "a resume numbered over 60 s ahead is ignored and alarmed"
    verdict = {"ignored": True, "alarm": "resume_from_future"}
    yield case_of("resume-an-hour-ahead", says, far, verdict, names=names)


def _at_the_intake() -> Iterator[Case]:
    fields = {"needs": "intake", "receiver": INTAKE}
    wrong = ReceiptItem(number=4_711, raw16=bytes(16), verdict=ReceiptVerdict.STORED)
    for name, says, body in (
        (
            "wrong-raw16",
            "raw16 is not of the report numbered so",
            replaced(RECEIPT, items=(wrong,)),
        ),
        ("another-spool", "another spool", replaced(RECEIPT, spool=made_up("old spool", 8))),
        (
            "lower-generation",
            "a lower generation than the intake has seen",
            replaced(RECEIPT, generation_ms=GENERATION_MS - 1),
        ),
    ):
        verdict = {"ignored": True, "unreceipted": [4_711]}
        yield case_of(f"receipt-of-{name}", says, body, verdict, **fields)


def _at_the_engine() -> Iterator[Case]:
    fields: dict[str, Any] = {"needs": "engine", "receiver": None}
    for name, says, body, verdict in (
        ("same-number", "boot 5, number 8 again", hello(number=8), {"ignored": True}),
        (
            "same-number-other-nonce",
            "boot 5 has said its hello 8 already, with another nonce: a restored or copied disk",
            hello(number=8, nonce=NEXT_NONCE),
            {"welcome": "rolled_back"},
        ),
        (
            "lower-boot",
            "boot 4 after boot 5: nothing changes",
            hello(boot=4),
            {"welcome": "rolled_back"},
        ),
    ):
        yield case_of(f"hello-{name}", says, body, verdict, names=("agent",), **fields)
    early = replaced(WATERMARK, at_ms=NOW_MS + 60_001)
    says = "its time is over 60 s from the engine's clock"
    yield case_of(
        "watermark-from-future", says, early, {"ignored": True}, names=("intake",), **fields
    )
    says = "a close that reports `opened`: outcome and action do not fit"
    item = acknowledgement_item("opened")
    odd = acknowledgement(items=(item,))
    verdict = {"quarantined": [1], "alarm": True}
    yield case_of("acknowledgement-odd-outcome", says, odd, verdict, names=("agent",), **fields)


def acknowledgement_item(outcome: str) -> Any:
    changed: CommandItem = replaced(COMMAND_ITEM, outcome=outcome)
    return raw(changed)
