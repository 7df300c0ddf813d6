"""Every outcome of the intake by its name: what `GET /health` shows."""

import logging
from enum import StrEnum

from cloud.intake.facts import Irrelevant, Report, Unreadable

_LOG = logging.getLogger(__name__)


class Counted(StrEnum):
    """What is counted, since this process started."""

    # Answers at the door.
    STORED = "stored"
    DUPLICATE = "duplicate"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_WRONG = "signature_wrong"
    SIGNATURE_STALE = "signature_stale"
    TOO_LARGE = "too_large"
    BODY_TOO_SLOW = "body_too_slow"
    DISCONNECTED = "disconnected"
    STORE_UNAVAILABLE = "store_unavailable"
    QUEUE_FULL = "queue_full"
    UNRECEIPTED_FULL = "unreceipted_full"
    # What stored reports said.
    FORWARDED = "forwarded"
    IRRELEVANT = "irrelevant"
    UNREADABLE = "unreadable"
    # What polling did.
    FETCHED = "fetched"
    POLL_FAILED = "poll_failed"
    # What became of publishes.
    PUBLISHED = "published"
    PUBLISH_DENIED = "publish_denied"
    PUBLISH_LOST = "publish_lost"
    # What came back.
    RECEIPTED = "receipted"
    RECEIPT_REPEATED = "receipt_repeated"
    RECEIPT_JUNK = "receipt_junk"
    RECEIPT_FOREIGN_SPOOL = "receipt_foreign_spool"
    RECEIPT_OLD_GENERATION = "receipt_old_generation"
    RECEIPT_UNKNOWN_NUMBER = "receipt_unknown_number"
    RECEIPT_WRONG_RAW = "receipt_wrong_raw"
    GENERATION_ADOPTED = "generation_adopted"


class Counters:
    """One number per name, from 0."""

    def __init__(self) -> None:
        self._numbers: dict[Counted, int] = dict.fromkeys(Counted, 0)

    def count(self, name: Counted, times: int = 1) -> None:
        """Adds to one name."""
        self._numbers[name] += times

    def __getitem__(self, name: Counted) -> int:
        return self._numbers[name]

    def by_name(self) -> dict[str, int]:
        """All of them, in the order of the enum."""
        return {name.value: number for name, number in self._numbers.items()}


def count_stored(counters: Counters, report: Report, needs_person: frozenset[str]) -> None:
    """Counts what a newly stored report said, and tells a person what only a person can judge.

    Args:
        counters: where it is counted.
        report: what was stored.
        needs_person: reasons of irrelevant reports that are alarms all the same.
    """
    match report.reading:
        case Irrelevant(reason):
            counters.count(Counted.IRRELEVANT)
            if reason in needs_person:
                _LOG.error(
                    "alarm: %s: nothing was posted for it, look at it: %s event id %r",
                    *(reason, report.provider, report.event_id),
                )
        case Unreadable(reason):
            counters.count(Counted.UNREADABLE)
            _LOG.error(
                "a genuine report cannot be read (%s); it is kept, look at it: %s event id %r",
                *(reason, report.provider, report.event_id),
            )
        case _:
            counters.count(Counted.FORWARDED)
