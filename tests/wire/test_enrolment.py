"""Tokens and requests of an enrolment, as files that anything may have happened to."""

import json

import pytest

from tests.edge_agent.installation_by_hand import root_document, root_pin
from wire.enrolment import (
    EnrolmentError,
    Token,
    is_proven,
    request_from_json,
    request_of,
    to_json,
    token_from_json,
)
from wire.fields import AgentId
from wire.keys import SigningKey

SECRET = bytes(range(32))
KEY = SigningKey(bytes([7]) * 32)
TOKEN = Token(
    agent=AgentId("AGENT-1"),
    brokers=("broker.example:8883",),
    pin=root_pin().hex(),
    root_document=root_document().hex(),
    secret=SECRET.hex(),
    expires_at_ms=1_000,
)


def changed(text: bytes, **fields: object) -> bytes:
    return json.dumps(json.loads(text) | fields).encode()


def test_token_and_request_are_read_as_they_were_written():
    request = request_of(TOKEN, KEY.public)
    assert token_from_json(to_json(TOKEN)) == TOKEN
    assert request_from_json(to_json(request)) == request
    assert request.key_id == KEY.key_id


def test_request_is_proven_by_the_secret_of_its_token_alone():
    request = request_of(TOKEN, KEY.public)
    assert is_proven(request, SECRET)
    assert not is_proven(request, bytes(32))


@pytest.mark.parametrize("field", ["agent", "public"])
def test_request_whose_agent_or_key_was_changed_is_not_proven(field):
    other = {"agent": "AGENT-2", "public": SigningKey(bytes([8]) * 32).public.hex()}
    text = changed(to_json(request_of(TOKEN, KEY.public)), **{field: other[field]})
    assert not is_proven(request_from_json(text), SECRET)


def test_token_with_another_root_document_is_refused():
    with pytest.raises(EnrolmentError, match="the pin is"):
        token_from_json(changed(to_json(TOKEN), pin="00" * 32))


@pytest.mark.parametrize(
    "change",
    [
        {"agent": "../AGENT"},
        {"agent": 7},
        {"secret": "00"},
        {"root_document": "0g"},
        {"more": 1},
        {"format": "relight-request-1"},
        {"expires_at_ms": -1},
    ],
)
def test_token_that_is_none_is_refused(change):
    with pytest.raises(EnrolmentError, match="no token of an enrolment"):
        token_from_json(changed(to_json(TOKEN), **change))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000])
def test_bytes_that_are_no_request_are_refused(text):
    with pytest.raises(EnrolmentError, match="no request of an enrolment"):
        request_from_json(text)


def test_small_order_key_is_refused():
    text = changed(to_json(request_of(TOKEN, KEY.public)), public="01" + "00" * 31)
    with pytest.raises(EnrolmentError, match="no usable public key"):
        request_from_json(text)
