"""Every published vector through our own code."""

import pytest

from tests.wire import vectors
from wire.chain import first_head, next_head
from wire.checking import Checked, Junk, check
from wire.decoding import (
    BODY_TYPES,
    ITEM_TYPES,
    decode_body,
    decode_item,
    decode_trust,
    encode,
)
from wire.documents import Identity, Registry, Root
from wire.envelope import MalformedError, digest, unpack
from wire.keys import verifies
from wire.topics import MessageType
from wire.trust import TrustRefusedError, accept, anchor, open_identity
from wire.vocabulary import OUTCOMES, Action

DOCUMENTS = {"root": Root, "registry": Registry, "identity": Identity}


def name_of(row):
    return row["name"]


@pytest.mark.parametrize("row", vectors.bodies(), ids=name_of)
def test_body_of_a_vector_is_read_and_written_the_same(row):
    if row["type"] == "item":
        assert encode(decode_item(row["body"])) == row["body"]
        return
    body_type = DOCUMENTS.get(row["type"]) or BODY_TYPES[MessageType(row["type"])]
    assert encode(decode_body(body_type, row["body"])) == row["body"]
    if "digest" in row:
        assert digest(vectors.installation(), row["type"], row["body"]) == row["digest"]


@pytest.mark.parametrize("row", [one for one in vectors.envelopes() if one["topic"]], ids=name_of)
def test_genuine_message_passes_steps_1_to_7(row):
    checked = check(
        vectors.message(row), vectors.keyring(), at_ms=row["at_ms"], receiver=row["receiver"]
    )
    assert isinstance(checked, Checked)
    assert checked.digest == row["digest"]
    assert checked.topic.message_type == row["type"]


@pytest.mark.parametrize("row", vectors.negative("nothing"), ids=name_of)
def test_junk_fails_at_its_step(row):
    verdict = check(
        vectors.message(row), vectors.keyring(), at_ms=row["at_ms"], receiver=row["receiver"]
    )
    assert isinstance(verdict, Junk)
    assert verdict.step == row["verdict"]["junk"]


@pytest.mark.parametrize(
    "row",
    [one for one in vectors.negative() if one["needs"] != "nothing"],
    ids=name_of,
)
def test_message_that_needs_a_state_is_genuine(row):
    checked = check(
        vectors.message(row), vectors.keyring(), at_ms=row["at_ms"], receiver=row["receiver"]
    )
    assert isinstance(checked, Checked)


@pytest.mark.parametrize("row", vectors.sequences(), ids=name_of)
def test_every_message_of_a_sequence_is_genuine(row):
    steps = [one for one in row["steps"] if one["event"] == "deliver"]
    verdicts = [check(vectors.message(one), vectors.keyring(), at_ms=one["at_ms"]) for one in steps]
    assert steps
    assert all(isinstance(one, Checked) for one in verdicts)


@pytest.mark.parametrize("row", vectors.documents(), ids=name_of)
def test_trust_document_gets_its_verdict(row):
    assert verdict_on(row) == row["verdict"]


def verdict_on(row):
    held = {
        "nothing": None,
        "root 1": vectors.root_only(),
        "registry 7": vectors.authorities(),
    }[row["held"]]
    try:
        if row["kind"] == "first root":
            anchor(row["payload"], vectors.keys()["root_pin"])
        elif row["kind"] == "identity":
            open_identity(held, row["payload"])
        else:
            documents = decode_trust(row["payload"])
            accept(held, documents, latest_ms=row["latest_ms"], is_production=row["is_production"])
    except (TrustRefusedError, MalformedError):
        return "document_refused"
    return "accepted"


@pytest.mark.parametrize("row", vectors.signatures(), ids=name_of)
def test_raw_signature_gets_its_verdict(row):
    assert verifies(row["public"], row["signature"], row["message"]) == row["is_valid"]


def test_heads_of_the_chain_follow_from_the_items():
    chain = vectors.chain()
    head = first_head(chain["journal"], chain["agent"])
    assert head == chain["first_head"]
    for row in chain["items"]:
        head = next_head(head, row["item"])
        assert head == row["head"]


def test_same_trust_message_again_changes_nothing():
    held = vectors.authorities()
    again = accept(held, held.documents(), latest_ms=vectors.keys()["now_ms"], is_production=False)
    assert again is held


def test_examples_show_every_item_kind_action_and_message_type():
    rows = vectors.bodies()
    kinds = {decode_item(one["body"]).kind for one in rows if one["type"] == "item"}
    actions = {one["fields"]["action"] for one in rows if one["type"] == "command"}
    assert kinds == set(ITEM_TYPES)
    assert actions == {action.value for action in Action}
    assert {one["type"] for one in rows} >= {one.value for one in MessageType}


def test_reported_outcomes_of_examples_are_allowed_for_their_action():
    row = next(one for one in vectors.bodies() if one["name"] == "item-command")
    assert row["fields"]["outcome"] in OUTCOMES[Action.CLOSE]


def test_acknowledgement_hands_out_its_items_decoded():
    row = vectors.envelope("acknowledgement")
    checked = check(vectors.message(row), vectors.keyring(), at_ms=row["at_ms"])
    assert isinstance(checked, Checked)
    assert [one.number for one in checked.items] == [1, 2, 3, 4, 5, 6]
    assert [encode(one) for one in checked.items] == [bytes(one) for one in checked.message.items]


def test_key_that_ends_later_still_verifies_while_no_time_is_known():
    row = next(one for one in vectors.negative() if one["name"] == "key-expired")
    checked = check(vectors.message(row), vectors.keyring(), at_ms=None)
    assert isinstance(checked, Checked)


def test_welcome_is_judged_by_its_own_time_however_wrong_the_clock_is():
    row = vectors.envelope("welcome")
    for at_ms in (0, 10 * row["at_ms"]):
        assert isinstance(check(vectors.message(row), vectors.keyring(), at_ms=at_ms), Checked)


def test_envelope_is_taken_apart_into_what_it_was_made_of():
    row = vectors.envelope("command-open")
    opened = unpack(row["payload"])
    assert [one.key_id for one in opened.signatures] == sorted(
        vectors.signing_key(name).key_id for name in row["signers"]
    )
