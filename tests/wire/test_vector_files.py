"""The published files: made anew they are the same, and they cover what they promise."""

import re
from pathlib import Path

import pytest

from tests.wire import vectors
from tests.wire.make_vectors import PAGE, VECTORS, all_files
from wire import documents, messages
from wire.decoding import BODY_TYPES, ITEM_TYPES
from wire.topics import SHAPES, MessageType
from wire.vocabulary import (
    LIFE_MAX_MS,
    OUTCOMES,
    REFUSALS_THAT_KEEP_COUNTER,
    Action,
    Outcome,
    PaymentKind,
    ReceiptVerdict,
    RefusalReason,
    Role,
    StateCause,
)

# What only a restart or a relay can show.
SHOWN_ELSEWHERE = {
    RefusalReason.RESTARTED,
    RefusalReason.MODE_CANNOT_ARM,
    RefusalReason.RELAY_CLOSED,
}

# The list of wire rules that a foreign agent gets wrong first; each is a vector or a sequence.
PROMISED = {
    "other-installation",
    "epoch-4-by-key-of-epoch-3",
    "open-by-engine-only",
    "open-by-guard-only",
    "open-by-two-engines",
    "open-with-an-approver",
    "sequence-61-s-ahead",
    "close-life-900001",
    "refused-then-replayed",
    "below-floor",
    "two-welcomes-one-nonce",
    "welcome-floor-an-hour-ahead",
    "filed-of-another-journal",
    "filed-of-lower-generation",
    "filed-of-wrong-head",
    "filed-with-a-gap",
    "receipt-of-wrong-raw16",
    "two-partial-refunds",
    "watermark-one-number-above-stored",
    "resume-older-than-stop",
    "stop-an-hour-ahead",
    "root-1-to-3-without-2",
    "registry-one-key-in-two-roles",
    "manifest-signed-by-requester",
    "manifest-meters-unsorted",
    "envelope-same-key-twice",
    "envelope-descending-key-ids",
    "signature-s-plus-l",
    "registry-small-order-key",
}


def page():
    return PAGE.read_text(encoding="utf-8")


def row_of(text, first_cell):
    """The cells of the first table row that begins with this cell."""
    found = re.search(rf"^\| {re.escape(first_cell)} \|(.*)\|$", text, re.MULTILINE)
    assert found, f"docs/protocol.md has no table row that begins with {first_cell}"
    return [cell.strip() for cell in found[1].split("|")]


def section(title):
    """The text under one heading of the page."""
    parts = re.split(r"^## (.*)$", page(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def test_committed_files_are_what_the_command_makes():
    for path, text in all_files().items():
        message = f"{path.name} is not what `python -m tests.wire.make_vectors` writes"
        assert path.read_text(encoding="utf-8") == text, message


def test_no_file_lies_beside_the_generated_ones():
    made = {path for path in all_files() if path.parent == VECTORS}
    assert set(VECTORS.iterdir()) == made | {VECTORS / "README.md"}


def test_names_of_vectors_are_unique():
    names = [one["name"] for one in (*vectors.negative(), *vectors.documents())]
    names += [one["name"] for one in vectors.sequences()]
    assert len(names) == len(set(names))


def test_there_are_enough_negative_vectors():
    negative = [one for one in vectors.negative() if one["verdict"] != {"accepted": True}]
    assert len(negative) >= 45
    assert len([one for one in vectors.documents() if one["verdict"] != "accepted"]) >= 15


def test_every_step_of_checking_has_a_junk_vector():
    steps = {one["verdict"]["junk"] for one in vectors.negative("nothing")}
    assert steps == {1, 2, 3, 4, 5, 6, 7}


def test_every_promised_vector_is_there():
    rows = (*vectors.negative(), *vectors.documents(), *vectors.sequences())
    assert PROMISED - {one["name"] for one in rows} == set()


def test_every_refusal_reason_an_agent_gives_today_has_a_vector():
    shown = {one["verdict"].get("refused") for one in vectors.negative("agent")}
    assert {reason.value for reason in set(RefusalReason) - SHOWN_ELSEWHERE} == shown - {None}


def test_every_refusal_reason_stands_in_the_page_with_its_effect_on_the_counter():
    refusals = section("Refusals")
    for reason in RefusalReason:
        raises = row_of(refusals, f"`{reason}`")[-1]
        assert raises == ("no" if reason in REFUSALS_THAT_KEEP_COUNTER else "yes")
    assert len(re.findall(r"^\| `", refusals, re.MULTILINE)) == len(RefusalReason)


# Heading in the page -> the type whose fields stand under it.
FIELD_TABLES = {
    **{f"### `{one}`": body_type for one, body_type in BODY_TYPES.items()},
    "### `root`": documents.Root,
    "### `registry`": documents.Registry,
    "### `identity`": documents.Identity,
    "#### relay reading": messages.RelayReading,
    "#### registry key": documents.RegistryKey,
    "#### edge policy": documents.EdgePolicy,
    "#### roster entry": documents.RosterEntry,
    "#### payment item": messages.PaymentItem,
    "#### receipt item": messages.ReceiptItem,
    **{f"#### item `{kind}`": item_type for kind, item_type in ITEM_TYPES.items()},
}


@pytest.mark.parametrize("heading", FIELD_TABLES)
def test_field_table_of_the_page_is_the_body_of_the_code(heading):
    _, found, rest = page().partition(f"\n{heading}\n")
    assert found, f"docs/protocol.md has no heading {heading}"
    rows = re.findall(
        r"^\| (\d+) \| `(\w+)` \|", re.split(r"^#+ ", rest, flags=re.MULTILINE)[0], re.MULTILINE
    )
    names = FIELD_TABLES[heading].__struct_fields__
    assert rows == [(str(place), name) for place, name in enumerate(names)]


def test_every_topic_stands_in_the_page_with_its_limit():
    topics = section("Topics, rights and session")
    for message_type, shape in SHAPES.items():
        name = "/".join((message_type.value, *(f"{{{one}}}" for one in shape.segments)))
        cells = row_of(topics, f"`{name}`")
        assert f"{shape.limit_bytes:,}" in cells
        assert cells[-1] == ("hint" if shape.may_be_retained else "no")


def test_outcomes_of_every_action_stand_in_the_page():
    outcomes = section("Outcomes")
    anyway = set.intersection(*(set(one) for one in OUTCOMES.values()))
    for action in Action:
        own = {f"`{one}`" for one in OUTCOMES[action] - anyway}
        assert set(row_of(outcomes, f"`{action}`")[0].split(", ")) == own
    for outcome in Outcome:
        assert f"`{outcome}`" in outcomes


def test_longest_lives_stand_in_the_page():
    commands = section("Commands and counters")
    for action, life_ms in LIFE_MAX_MS.items():
        assert row_of(commands, f"`{action}`")[-1] == f"{life_ms:,} ms"


def test_every_word_of_the_vocabulary_stands_in_the_page():
    for words in (Role, PaymentKind, ReceiptVerdict, StateCause, MessageType):
        for word in words:
            assert f"`{word}`" in page(), word


def test_every_example_body_of_the_page_is_a_vector_and_every_type_has_one():
    named = set(re.findall(r"<!-- bytes ([\w-]+) -->", page()))
    bodies = {one["name"]: one["type"] for one in vectors.bodies()}
    assert named - {"envelope"} <= set(bodies)
    shown = {bodies[name] for name in named - {"envelope"}}
    assert {one.value for one in MessageType} | {"root", "registry", "identity"} <= shown


def test_every_rule_the_code_cites_has_an_anchor_in_the_page():
    root = Path(__file__).resolve().parents[2]
    cited = set()
    for folder in ("wire", "edge_agent", "cloud", "mosquitto", "meter_sim"):
        for path in (root / folder).rglob("*.py"):
            cited |= set(re.findall(r"\bR\d{1,2}\b", path.read_text(encoding="utf-8")))
    anchors = set(re.findall(r'<a id="(r\d+)"></a>', page()))
    assert {one.lower() for one in cited} - anchors == set()
