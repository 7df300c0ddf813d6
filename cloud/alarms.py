"""What a person must look at: rows for the desk, never an answer to anybody."""

from sqlalchemy import Connection, insert

from cloud.schema import alarms


def raise_alarm(
    transaction: Connection, code: str, subject: str, detail: str, *, now_ms: int
) -> None:
    """Leave something for a person to look at."""
    transaction.execute(
        insert(alarms),
        {"code": code, "subject": subject, "detail": detail, "raised_at_ms": now_ms},
    )
