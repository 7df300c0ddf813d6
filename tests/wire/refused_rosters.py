"""Which rosters an agent takes, and who may say that a meter is protected no longer."""

from collections.abc import Iterator
from typing import Any

from tests.wire.bodies import ROSTER
from tests.wire.case import Case
from tests.wire.installation import METER, OTHER_METER
from tests.wire.junk_signers import replaced
from tests.wire.refused import case_of

ENROL = {"names": ("enrol",)}
BOTH = {"names": ("enrol", "guard")}


def all_cases() -> Iterator[Case]:
    taken: dict[str, Any] = {"roster_version": 1, "protected": [OTHER_METER]}
    yield case_of("roster-newer", "above the version held", ROSTER, taken, **ENROL)
    ignored = {"ignored": True}
    given: dict[str, Any] = {"roster_version": 1}
    says = "the version held already"
    yield case_of("roster-again", says, ROSTER, ignored, given=given, **ENROL)
    says = "one of two parts: it waits for the other"
    part = replaced(ROSTER, parts=2)
    yield case_of("roster-part-1-of-2", says, part, ignored, **ENROL)
    given = {"protected_meters": [METER]}
    says = "protected once; enrol alone cannot clear it"
    verdict = {"roster_version": 1, "protected": [METER, OTHER_METER]}
    yield case_of("roster-clears-by-enrol", says, ROSTER, verdict, given=given, **ENROL)
    says = "enrol and guard can"
    yield case_of("roster-clears-by-both", says, ROSTER, taken, given=given, **BOTH)
    alarmed = {"ignored": True, "alarm": "roster_unusable"}
    odd = replaced(ROSTER.meters[0], flags=4)
    for name, says, body in (
        ("unknown-flag", "flag 4 could be a protection", replaced(ROSTER, meters=(odd,))),
        ("part-2-of-1", "part 2 of 1", replaced(ROSTER, part=2)),
        ("of-11-parts", "10 parts are the most", replaced(ROSTER, parts=11)),
        ("meter-twice", "one meter twice", replaced(ROSTER, meters=ROSTER.meters[:1] * 2)),
    ):
        yield case_of(f"roster-{name}", says, body, alarmed, **ENROL)
