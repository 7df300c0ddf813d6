"""How people in India write money and time, and how we keep them: integer paise, integer ms UTC.

Rules kept here: a rupee amount is read from its decimal string exactly, never through a float;
dates and times without an offset are Indian Standard Time, which is +05:30 all year.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

IST = timezone(timedelta(hours=5, minutes=30))
DAY_MS = 86_400_000
PAISE_LIMIT = 2**53  # the wire's largest integer: what every language's double holds exactly
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = r"[0-9]{1,14}"
_GROUPED = r"[0-9]{1,2}(?:,[0-9]{2})*,[0-9]{3}|[0-9]{1,3}(?:,[0-9]{3})+"  # 1,23,456 and 123,456
_RUPEES = re.compile(rf"({_GROUPED}|{_PLAIN})(?:\.([0-9]{{1,2}}))?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,3})?)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)


def parse_rupees(text: str) -> int:
    """Paise of `1234.50`, `1,234.50` or `1,23,456`.

    Raises:
        ValueError: anything else, signs, exponents and more than two decimals included.
    """
    found = _RUPEES.fullmatch(text)
    if found is None:
        raise ValueError("is no amount in rupees: write it like 1234.50 or 1,234.50")
    rupees, decimals = found.groups()
    paise = int(rupees.replace(",", "")) * 100 + int((decimals or "").ljust(2, "0"))
    if paise >= PAISE_LIMIT:
        raise ValueError("is more money than an amount can be")
    return paise


def rupees(paise: int) -> str:
    """`Rs 1,23,456.00`, grouped in lakh and crore."""
    whole, decimals = divmod(abs(paise), 100)
    head, tail = str(whole)[:-3], str(whole)[-3:]
    pairs = [head[max(end - 2, 0) : end] for end in range(len(head), 0, -2)][::-1]
    return f"{'-' if paise < 0 else ''}Rs {','.join([*pairs, tail])}.{decimals:02d}"


@lru_cache(maxsize=8_192)  # days of about 22 years: the files of a fleet repeat them
def parse_day(text: str) -> int:
    """Midnight IST at the beginning of `YYYY-MM-DD`, in ms UTC.

    Raises:
        ValueError: another spelling, or no such day.
    """
    if _DAY.fullmatch(text) is None:
        raise ValueError("is no date: write it like 2026-10-31")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("is no day of the calendar") from None
    return _ms(datetime(day.year, day.month, day.day, tzinfo=IST))


def parse_instant(text: str) -> int:
    """Ms UTC of an ISO 8601 date and time; without an offset it is IST.

    Raises:
        ValueError: another spelling, or no such time.
    """
    if _INSTANT.fullmatch(text) is None:
        raise ValueError("is no date and time: write it like 2026-10-31T11:42:00+05:30")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no time of the calendar") from None
    return _ms(instant if instant.tzinfo else instant.replace(tzinfo=IST))


def ist(at_ms: int) -> str:
    """`2026-10-31 11:42:00.123`, Indian Standard Time."""
    instant = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(IST)
    return instant.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d}"


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
