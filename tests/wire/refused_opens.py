"""What stands against an open, what a manifest lifts of it, and which manifests an agent takes."""

from collections.abc import Iterator
from typing import Any

from tests.wire.bodies import MANIFEST, MANIFEST_ID, command
from tests.wire.case import Case
from tests.wire.installation import DAY_MS, METER, MINUTE_MS, NOW_MS, OTHER_METER, REGISTRY
from tests.wire.junk_signers import replaced
from tests.wire.refused import HOUR_MS, TWO, case_of, later, refusal


def all_cases() -> Iterator[Case]:
    yield from _opens()
    yield from _disarms()
    yield from _opens_by_manifest()
    yield from _manifests()


def _opens() -> Iterator[Case]:
    whole = command("open")
    yield case_of("open-by-both", "nothing stands against it", whole, {"accepted": True}, names=TWO)
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
        yield refusal(reason, f"open-{name}", says, whole, names=TWO, given=given)
    evening = NOW_MS + 3 * HOUR_MS  # 14:30 in Indore; the window ends at 14:00
    late = command("open", sequence_ms=evening, expires_at_ms=evening + 5 * MINUTE_MS)
    yield refusal("window", "open-after-hours", "14:30", late, names=TWO, **later(3 * HOUR_MS))
    holiday = NOW_MS + 11 * DAY_MS  # 2026-10-02, in closed_days
    closed = command("open", sequence_ms=holiday, expires_at_ms=holiday + MINUTE_MS)
    says = "2 October is a closed day"
    yield refusal("window", "open-on-closed-day", says, closed, names=TWO, **later(11 * DAY_MS))
    after = REGISTRY.expires_at_ms
    stale = command("open", sequence_ms=after, expires_at_ms=after + MINUTE_MS)
    fields = later(after - NOW_MS)
    says = "the registry's last moment"
    yield refusal("trust_expired", "open-registry-expired", says, stale, names=TWO, **fields)
    close = command("close", sequence_ms=after, expires_at_ms=after + MINUTE_MS)
    says = "an expired registry stops opens, never closes"
    yield case_of("close-registry-expired", says, close, {"accepted": True}, **fields)


def _disarms() -> Iterator[Case]:
    whole = command("disarm")
    for reason, name, says, given in (
        ("trust_old", "trust-old", "the welcome spoke of registry 8", {"welcome_trust_version": 8}),
        ("clock_untrusted", "time-disputed", "welcomes disagree", {"is_time_disputed": True}),
        ("stop", "stopped", "a stop nobody lifted", {"stop_ms": NOW_MS - 1}),
        ("cap_meter", "meter-opened-twice", "it counts like an open", {"meter_opens": 2}),
        ("cap_agent", "ten-of-500-opened", "it counts like an open", {"agent_opens": 10}),
    ):
        yield refusal(reason, f"disarm-{name}", says, whole, names=TWO, given=given)
    free = {"protected_meters": [METER], "since_close_ms": 0}
    says = "neither protection nor dwell: there is no supply to take"
    verdict = {"accepted": True}
    yield case_of("disarm-protected-at-once", says, whole, verdict, names=TWO, given=free)
    evening = NOW_MS + 3 * HOUR_MS
    late = command("disarm", sequence_ms=evening, expires_at_ms=evening + 5 * MINUTE_MS)
    fields = later(3 * HOUR_MS)
    yield case_of("disarm-after-hours", "no window", late, verdict, names=TWO, **fields)


HELD: dict[str, Any] = {
    "manifest": MANIFEST_ID,
    "held_for_ms": 15 * MINUTE_MS,
    "expires_at_ms": NOW_MS + 1,
    "meters": [METER],
    "used": [],
}


def _opens_by_manifest() -> Iterator[Case]:
    batch = command("open", manifest=MANIFEST_ID)
    says = "a manifest this agent does not hold"
    yield refusal("manifest_unknown", "open-unknown-manifest", says, batch, names=TWO)
    beyond = {"agent_opens": 10}
    says = "beyond the agent's cap, by a manifest held for 15 min that lives one millisecond more"
    given = {**beyond, "manifests": [HELD]}
    yield case_of("open-by-manifest", says, batch, {"accepted": True}, names=TWO, given=given)
    for reason, says, changes in (
        ("manifest_cooling", "held for 899,999 ms of running time", {"held_for_ms": 899_999}),
        ("manifest_expired", "latest is its expiry", {"expires_at_ms": NOW_MS}),
        ("meter_not_in_manifest", "it names another meter", {"meters": [OTHER_METER]}),
        ("manifest_used", "this meter was opened under it before", {"used": [METER]}),
    ):
        given = {"manifests": [{**HELD, **changes}]}
        name = f"open-{reason.replace('_', '-')}"
        yield refusal(reason, name, says, batch, names=TWO, given=given)
    for reason, fact in (
        ("stop", {"stop_ms": NOW_MS - 1}),
        ("protected", {"protected_meters": [METER]}),
        ("dwell", {"since_close_ms": 59_999}),
        ("cap_meter", {"meter_opens": 2}),
    ):
        says = "a manifest lifts the agent's cap and nothing else"
        given = {**fact, "manifests": [HELD]}
        name = f"open-by-manifest-{reason.replace('_', '-')}"
        yield refusal(reason, name, says, batch, names=TWO, given=given)


def _manifests() -> Iterator[Case]:
    signed_by = {"names": ("approver-1", "approver-2")}
    for name, says, body, reason in (
        ("held", "within its four hours", MANIFEST, None),
        (
            "4-h-ahead",
            "4 h are the most, and allowed",
            replaced(MANIFEST, expires_at_ms=NOW_MS + 4 * HOUR_MS),
            None,
        ),
        (
            "too-long",
            "it expires over 4 h from now",
            replaced(MANIFEST, expires_at_ms=NOW_MS + 4 * HOUR_MS + 1),
            "life_too_long",
        ),
        (
            "expired",
            "latest is its expiry",
            replaced(MANIFEST, expires_at_ms=NOW_MS),
            "manifest_expired",
        ),
    ):
        told = {"verdict": "refused" if reason else "held", "reason": reason}
        yield case_of(f"manifest-{name}", says, body, {"manifest": told}, **signed_by)
    says = "held already: answered once"
    given = {"manifests": [HELD]}
    yield case_of("manifest-again", says, MANIFEST, {"ignored": True}, given=given, **signed_by)
    says = "no welcome in this boot: it is sent again each minute"
    given = {"has_welcome": False}
    verdict = {"ignored": True}
    yield case_of("manifest-before-any-welcome", says, MANIFEST, verdict, given=given, **signed_by)
