import pytest

from cloud.intake.razorpay import is_genuine
from tests.cloud.intake.reports import (
    OLD_SECRET,
    SECRET,
    VECTOR_BODY,
    VECTOR_SIGNATURE,
    signature,
)


def test_both_live_secrets_verify_and_no_other():
    for secret in (SECRET, OLD_SECRET):
        assert is_genuine(VECTOR_BODY, signature(VECTOR_BODY, secret), [SECRET, OLD_SECRET])
    assert not is_genuine(VECTOR_BODY, signature(VECTOR_BODY, OLD_SECRET), [SECRET])
    assert not is_genuine(VECTOR_BODY, VECTOR_SIGNATURE, [])


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        VECTOR_SIGNATURE[:-1],
        VECTOR_SIGNATURE + "0",
        VECTOR_SIGNATURE + "\n",
        VECTOR_SIGNATURE.upper(),
        " " + VECTOR_SIGNATURE,
        "é" * 64,
        "0" * 64,
    ],
)
def test_signature_of_wrong_length_alphabet_or_value_is_not_genuine(wrong):
    assert not is_genuine(VECTOR_BODY, wrong, [SECRET])


def test_one_changed_character_of_the_signature_or_bit_of_the_body_is_not_genuine():
    for place in range(64):
        other = "0" if VECTOR_SIGNATURE[place] != "0" else "1"
        mutated = VECTOR_SIGNATURE[:place] + other + VECTOR_SIGNATURE[place + 1 :]
        assert not is_genuine(VECTOR_BODY, mutated, [SECRET])
    for place in range(len(VECTOR_BODY)):
        mutated_body = bytearray(VECTOR_BODY)
        mutated_body[place] ^= 1
        assert not is_genuine(bytes(mutated_body), VECTOR_SIGNATURE, [SECRET])
