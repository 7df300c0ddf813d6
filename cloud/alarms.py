"""What a person must look at: rows for the desk, never an answer to anybody."""

import logging
from collections.abc import Callable, Sequence

import sqlalchemy
from sqlalchemy import Connection, insert
from sqlalchemy.exc import DBAPIError

from cloud.schema import alarms
from cloud.trust_files import Complaint, tell

_LOG = logging.getLogger(__name__)


def raise_alarm(
    transaction: Connection, code: str, subject: str, detail: str, *, now_ms: int
) -> None:
    """Leave something for a person to look at."""
    transaction.execute(
        insert(alarms),
        {"code": code, "subject": subject, "detail": detail, "raised_at_ms": now_ms},
    )


def tell_ledger(
    complaints: Sequence[Complaint], store: sqlalchemy.Engine, clock_ms: Callable[[], int]
) -> None:
    """Say them in the log and leave them in the ledger for the desk."""
    tell(complaints)
    try:
        with store.begin() as transaction:
            for one in complaints:
                raise_alarm(transaction, one.code, one.subject, one.detail, now_ms=clock_ms())
    except DBAPIError as error:  # the log has them
        _LOG.error("the alarms could not be stored: %s", error.orig)
