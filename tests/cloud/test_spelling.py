"""Money and time as people write them: exactly, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.spelling import ist, parse_day, parse_instant, parse_rupees, rupees


@pytest.mark.parametrize(
    ("text", "paise"),
    [
        ("1234.50", 123_450), ("1,234.50", 123_450), ("1,23,456", 12_345_600),
        ("123,456.7", 12_345_670), ("0", 0), ("0.01", 1), ("1,23,45,678.90", 1_234_567_890),
    ],
)  # fmt: skip
def test_rupees_are_read_exactly(text: str, paise: int):
    assert parse_rupees(text) == paise


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1.234", "1e3", "-1", "+1", "NaN", "inf", "1,2", "12,34.50", ".5", "1.", "Rs 5",
     "1,234,5", "\u0967", "9" * 20],
)  # fmt: skip
def test_anything_else_is_no_amount(text: str):
    with pytest.raises(ValueError, match=r"amount|money"):
        parse_rupees(text)


@given(st.integers(min_value=0, max_value=2**53 - 1))
def test_rupees_written_are_read_back_exactly(paise: int):
    assert parse_rupees(rupees(paise).removeprefix("Rs ")) == paise


def test_rupees_are_grouped_in_lakh_and_crore():
    told = [rupees(paise) for paise in (0, 99_999, 12_345_600, 1_234_567_890, -100)]
    assert told == ["Rs 0.00", "Rs 999.99", "Rs 1,23,456.00", "Rs 1,23,45,678.90", "-Rs 1.00"]


def test_days_begin_at_midnight_in_india():
    assert ist(parse_day("2026-10-31")) == "2026-10-31 00:00:00.000"
    assert parse_day("1970-01-01") == -19_800_000


def test_time_without_an_offset_is_indian():
    moments = {
        parse_instant(text)
        for text in ("2026-10-31T11:42:00+05:30", "2026-10-31 11:42", "2026-10-31T06:12:00Z",
                     "2026-10-31T11:42:00.000")
    }  # fmt: skip
    assert len(moments) == 1


@pytest.mark.parametrize("text", ["2026-02-30", "31-10-2026", "2026-1-1", "20261031", ""])
def test_no_day_is_refused(text: str):
    with pytest.raises(ValueError, match=r"date|day"):
        parse_day(text)


@pytest.mark.parametrize("text", ["2026-10-31", "2026-10-31T25:00", "11:42", "1789972800"])
def test_no_time_is_refused(text: str):
    with pytest.raises(ValueError, match="time"):
        parse_instant(text)
