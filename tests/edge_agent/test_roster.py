"""The local list of meters."""

import pytest

from edge_agent.roster import RosterError, parse_roster

HEADER = "meter,serial,flags,line\n"


def test_roster_is_read_with_its_flags():
    roster = parse_roster(HEADER + "M-1,S1,,hdlc:1\nM-2,S2,protected no_relay,hdlc:2\n\n")
    assert list(roster.meters) == ["M-1", "M-2"]
    first, second = roster.meters.values()
    assert (first.serial, first.is_protected, first.has_relay, first.line) == (
        "S1", False, True, "hdlc:1",
    )  # fmt: skip
    assert (second.is_protected, second.has_relay) == (True, False)


def test_first_line_may_say_which_version_the_file_is():
    assert parse_roster("# version 12\n" + HEADER + "M-1,S1,,a\n").version == 12
    assert parse_roster(HEADER).version == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first row"),
        ("meter;serial\n", "first row"),
        (HEADER + "M-1,S1,,a\nM-1,S2,,b\n", "row 3: meter M-1 stands above"),
        (HEADER + "m-1,S1,,a\n", "row 2: 'm-1'"),
        (HEADER + "M-1,S1,protectd,a\n", "'protectd' is unknown"),
        (HEADER + "M-1,S1\n", "row 2: 2 fields"),
        ("# version 0\n" + HEADER, "'# version 0' is neither"),
        ("# of Indore\n" + HEADER, "'# of Indore' is neither"),
        ("# version 1\n" + HEADER + "M-1,S1\n", "row 3: 2 fields"),
    ],
)
def test_wrong_row_is_named_with_its_value(text, words):
    with pytest.raises(RosterError, match=words):
        parse_roster(text)
