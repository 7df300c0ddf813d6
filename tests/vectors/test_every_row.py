"""No row of docs/vectors is left without a receiver: the tests' own lists, against the files."""

from tests.vectors import (
    agent_sight,
    engine_sight,
    rows,
    test_agent_commands,
    test_agent_words,
    test_engine,
    test_intake,
    test_trust_documents,
)
from tests.wire import test_vectors, vectors

# A test and the rows it is run with. A list that no test takes is no receiver.
RECEIVERS = {
    test_agent_commands.test_refused_command_is_journaled_answered_and_moves_nothing,
    test_agent_commands.test_command_that_comes_too_early_leaves_no_trace,
    test_agent_commands.test_accepted_command_is_carried_out_and_read_back,
    test_agent_words.test_agent_does_with_a_word_what_the_vector_says,
    test_agent_words.test_junk_is_counted_by_the_agent_and_leaves_no_row,
    test_agent_words.test_genuine_message_is_no_junk_to_the_agent_it_is_for,
    test_agent_words.test_agent_lives_through_a_sequence,
    test_engine.test_engine_does_with_a_word_what_the_vector_says,
    test_engine.test_engine_lives_through_a_sequence,
    test_engine.test_genuine_message_is_no_junk_to_the_engine,
    test_intake.test_intake_does_with_a_word_what_the_vector_says,
    test_intake.test_junk_is_counted_by_the_intake_and_leaves_no_row,
    test_intake.test_genuine_receipt_ends_the_number_it_names,
    test_trust_documents.test_agent_believes_a_trust_message_as_the_vector_says_and_keeps_it,
    test_trust_documents.test_agent_does_not_start_on_a_first_root_that_is_not_the_pinned_one,
    test_trust_documents.test_engine_reads_an_identity_as_the_vector_says,
}


def rows_of(test):
    """The rows that pytest runs this test with."""
    (marks,) = [one for one in test.pytestmark if one.args[0] == "row"]
    return marks.args[1]


def names(given):
    return sorted(rows.name_of(row) for row in given)


def received():
    met = [row for test in RECEIVERS for row in rows_of(test)]
    return met + rows.junk("engine")  # one test takes them all over one ledger


def test_every_message_document_and_sequence_meets_a_real_receiver_once():
    messages = [row for row in vectors.envelopes() if row["topic"]]
    every = [*messages, *vectors.negative(), *vectors.documents(), *vectors.sequences()]
    assert names(received()) == names(every)


def test_vectors_without_a_receiver_of_their_own_are_read_by_the_wire():
    """Bodies, raw signatures and the chain are parts of messages; documents have no topic."""
    parts = {
        test_vectors.test_body_of_a_vector_is_read_and_written_the_same: vectors.bodies(),
        test_vectors.test_raw_signature_gets_its_verdict: vectors.signatures(),
    }
    for test, expected in parts.items():
        assert rows_of(test) == expected
    documents = {row["type"] for row in vectors.envelopes() if not row["topic"]}
    assert documents == {"root", "registry", "identity"}
    stored = {bytes(one["body"]) for one in vectors.bodies() if one["type"] == "item"}
    assert stored == {bytes(one["item"]) for one in vectors.chain()["items"]}


def test_every_word_that_a_sequence_expects_is_checked_and_every_check_is_used():
    """A check that no vector asks for could say anything."""
    for side, checks, words in (
        ("agent", agent_sight.CHECKS, rows.words_to_agent()),
        ("engine", engine_sight.CHECKS, rows.words_to("engine")),
    ):
        steps = [step for row in rows.sequences(side) for step in row["steps"]]
        expected = {word for step in steps for word in step["expect"]}
        assert expected | {word for row in words for word in row["verdict"]} == set(checks)


def test_sequences_and_states_are_of_the_three_receivers():
    assert {row["needs"] for row in vectors.sequences()} <= {"agent", "engine", "intake"}
    assert set(vectors.states()) == {"agent", "engine", "intake"}
    assert len(vectors.sequences()) >= 14
