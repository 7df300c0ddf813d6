"""Genuine messages that only a state can judge: what an agent, an engine or an intake must say.

The state is told as facts in `given`; what is not told is as in STATE.
"""

from collections.abc import Iterator
from typing import Any

from tests.wire.bodies import (
    COMMAND_ITEM,
    HEADS,
    MANIFEST_ID,
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
    "protected_meters": [],
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
    yield from _opens()
    yield from _marks_at_the_agent()
    yield from _at_the_intake()
    yield from _at_the_engine()


def _case(name: str, says: str, body: Any, verdict: dict[str, Any], **fields: Any) -> Case:
    type_name = type(body).__name__.lower()
    names = fields.pop("names", ENGINE)
    whole = {
        "needs": "agent",
        "topic": topic_of(type_name, body),
        "payload": signed(type_name, encode(body), *names),
        **fields,
    }
    return Case(name=name, says=says, verdict=verdict, **whole)


def _refused(reason: str, name: str, says: str, body: Any, **fields: Any) -> Case:
    return _case(name, says, body, {"refused": reason}, **fields)


def _later(by_ms: int, **given: Any) -> dict[str, Any]:
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
        yield _case(f"not-now-{name}", says, command(), {"not_now": True}, given=given)
    says = "the same, but a withdraw is never counted"
    full = {"outstanding": 32}
    yield _case(
        "withdraw-in-full-window", says, command("withdraw"), {"accepted": True}, given=full
    )


def _counters_and_lives() -> Iterator[Case]:
    at = command(sequence_ms=FLOOR[1], expires_at_ms=NOW_MS + MINUTE_MS)
    yield _refused("before_welcome", "below-floor", "the counter is the floor", at)
    low_epoch = {"floor": [EPOCH + 1, 0]}
    says = "the floor has a higher epoch"
    yield _refused("before_welcome", "below-floor-epoch", says, command(), given=low_epoch)
    above = command(sequence_ms=FLOOR[1] + 1, expires_at_ms=NOW_MS + MINUTE_MS)
    yield _case("just-above-floor", "one above the floor", above, {"accepted": True})
    read = command("read", sequence_ms=FLOOR[1], expires_at_ms=NOW_MS + MINUTE_MS)
    yield _refused("before_welcome", "read-below-floor", "a read keeps the floor too", read)
    highest = {"highest": [EPOCH, NOW_MS]}
    says = "the meter's highest counter is this one"
    yield _refused("low_counter", "low-counter", says, command(), given=highest)
    says = "a read does not look at the highest counter"
    yield _case("read-at-highest", says, command("read"), {"accepted": True}, given=highest)
    ahead = command(sequence_ms=NOW_MS + 61_000, expires_at_ms=NOW_MS + 5 * MINUTE_MS)
    yield _refused("from_future", "sequence-61-s-ahead", "60 s ahead is the most", ahead)
    edge = command(sequence_ms=NOW_MS + 60_000, expires_at_ms=NOW_MS + 5 * MINUTE_MS)
    yield _case("sequence-60-s-ahead", "60 s ahead is allowed", edge, {"accepted": True})
    for action, life, names in (("close", 900_000, ENGINE), ("open", 600_000, TWO)):
        for over in (0, 1):
            body = command(action, expires_at_ms=NOW_MS + life + over)
            name = f"{action}-life-{life + over}"
            verdict = {"refused": "life_too_long"} if over else {"accepted": True}
            yield _case(name, f"a life of {life + over} ms", body, verdict, names=names)
    life = 15 * MINUTE_MS
    yield _refused("expired", "expired", "latest is its expiry", command(), **_later(life))
    says = "one millisecond of life left, by the latest time"
    yield _case("not-yet-expired", says, command(), {"accepted": True}, **_later(life - 1))


def _keys_and_meters() -> Iterator[Case]:
    foreign = command(meter=FOREIGN_METER)
    yield _refused("unknown_meter", "unknown-meter", "a meter this agent does not have", foreign)
    explode = command("explode")
    yield _refused("unknown_action", "unknown-action", "no such action", explode)
    for action, names in {
        "arm": ENGINE,
        "guarded": ENGINE,
        "disarm": TWO,
        "unguarded": TWO,
    }.items():
        says = "an action this version of the agent does not carry out"
        name = f"unimplemented-{action}"
        yield _refused("unknown_action", name, says, command(action), names=names)
    says = "an open signed by the engine only"
    yield _refused("missing_guard", "open-by-engine-only", says, command("open"))
    says = "a guard's signature where none is demanded is accepted"
    yield _case("close-by-engine-and-guard", says, command(), {"accepted": True}, names=TWO)


def _opens() -> Iterator[Case]:
    whole = command("open")
    yield _case("open-by-both", "nothing stands against it", whole, {"accepted": True}, names=TWO)
    for reason, name, says, given in (
        ("trust_old", "trust-old", "the welcome spoke of registry 8", {"welcome_trust_version": 8}),
        (
            "clock_untrusted",
            "welcome-15-min-old",
            "15 min is the most",
            {"welcome_age_ms": 900_001},
        ),
        ("clock_untrusted", "time-disputed", "welcomes disagree", {"is_time_disputed": True}),
        ("stop", "stopped", "a stop nobody lifted", {"stop_ms": NOW_MS - 1}),
        ("protected", "protected", "a protected consumer's meter", {"protected_meters": [METER]}),
        ("dwell", "dwell", "closed 59,999 ms ago; 60,000 is the least", {"since_close_ms": 59_999}),
        ("cap_meter", "meter-opened-twice", "two opens of this meter in 24 h", {"meter_opens": 2}),
        ("cap_meter", "journal-young", "23 h after a new journal", {"running_ms": 23 * HOUR_MS}),
        ("cap_agent", "ten-of-500-opened", "2 % of 500 meters are 10", {"agent_opens": 10}),
        ("cap_agent", "below-25-meters", "fewer than 25 meters: none", {"reached": 24}),
    ):
        yield _refused(reason, f"open-{name}", says, whole, names=TWO, given=given)
    batch = command("open", manifest=MANIFEST_ID)
    says = "a manifest this agent does not hold"
    yield _refused("manifest_unknown", "open-unknown-manifest", says, batch, names=TWO)
    evening = NOW_MS + 3 * HOUR_MS  # 14:30 in Indore; the window ends at 14:00
    late = command("open", sequence_ms=evening, expires_at_ms=evening + 5 * MINUTE_MS)
    yield _refused("window", "open-after-hours", "14:30", late, names=TWO, **_later(3 * HOUR_MS))
    holiday = NOW_MS + 11 * DAY_MS  # 2026-10-02, in closed_days
    closed = command("open", sequence_ms=holiday, expires_at_ms=holiday + MINUTE_MS)
    says = "2 October is a closed day"
    yield _refused("window", "open-on-closed-day", says, closed, names=TWO, **_later(11 * DAY_MS))
    after = REGISTRY.expires_at_ms
    stale = command("open", sequence_ms=after, expires_at_ms=after + MINUTE_MS)
    fields = _later(after - NOW_MS)
    says = "the registry's last moment"
    yield _refused("trust_expired", "open-registry-expired", says, stale, names=TWO, **fields)
    close = command("close", sequence_ms=after, expires_at_ms=after + MINUTE_MS)
    says = "an expired registry stops opens, never closes"
    yield _case("close-registry-expired", says, close, {"accepted": True}, **fields)


def _marks_at_the_agent() -> Iterator[Case]:
    ahead = welcome(floor_sequence=NOW_MS + HOUR_MS)
    verdict = {"taken": "all but the floor", "floor": FLOOR}
    says = "a floor over 60 s ahead of the now beside it is not believed"
    yield _case("welcome-floor-an-hour-ahead", says, ahead, verdict)
    other = welcome(floor_epoch=EPOCH + 1, floor_sequence=0)
    says = "a floor of an epoch that is not the signing key's is not believed"
    yield _case("welcome-floor-of-epoch-4", says, other, verdict)
    unknown = welcome(nonce=made_up("nobody's nonce", 16))
    says = "it answers no hello of this boot"
    yield _case("welcome-unknown-nonce", says, unknown, {"ignored": True})
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
        yield _case(f"filed-of-{name}", says, body, verdict, given=SIX_ITEMS)
    older = replaced(RESUME, lifts_ms=NOW_MS - 1)
    says = "it lifts stops up to one millisecond before the one that holds"
    verdict = {"is_frozen": True, "stop_ms": NOW_MS, "lifted_ms": NOW_MS - 1}
    names = ("approver-1", "approver-2")
    given = {"stop_ms": NOW_MS}
    yield _case("resume-older-than-stop", says, older, verdict, names=names, given=given)
    far = replaced(STOP, number_ms=NOW_MS + HOUR_MS)
    says = "a stop numbered over 60 s ahead is ignored and alarmed"
    verdict = {"ignored": True, "alarm": "stop_from_future"}
    yield _case("stop-an-hour-ahead", says, far, verdict, names=("stop",))
    far = replaced(RESUME, lifts_ms=NOW_MS + HOUR_MS)
    says = "a resume numbered over 60 s ahead is ignored and alarmed"
    verdict = {"ignored": True, "alarm": "resume_from_future"}
    yield _case("resume-an-hour-ahead", says, far, verdict, names=names)


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
        yield _case(f"receipt-of-{name}", says, body, verdict, **fields)


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
        yield _case(f"hello-{name}", says, body, verdict, names=("agent",), **fields)
    early = replaced(WATERMARK, at_ms=NOW_MS + 60_001)
    says = "its time is over 60 s from the engine's clock"
    yield _case(
        "watermark-from-future", says, early, {"ignored": True}, names=("intake",), **fields
    )
    says = "a close that reports `opened`: outcome and action do not fit"
    item = acknowledgement_item("opened")
    odd = acknowledgement(items=(item,))
    verdict = {"quarantined": [1], "alarm": True}
    yield _case("acknowledgement-odd-outcome", says, odd, verdict, names=("agent",), **fields)


def acknowledgement_item(outcome: str) -> Any:
    changed: CommandItem = replaced(COMMAND_ITEM, outcome=outcome)
    return raw(changed)
