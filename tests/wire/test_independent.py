"""The vectors once more, by a reader that shares no code with the product.

Only `msgpack`, `cryptography`, hashlib and the rules of docs/protocol.md written out by hand. What
both readers accept has one meaning; where Ed25519 libraries differ is stated and bounded here.
"""

import json
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import msgpack
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VECTORS = Path(__file__).resolve().parents[2] / "docs" / "vectors"


def read(name):
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def raw(text):
    assert text.startswith("0x")
    return bytes.fromhex(text[2:])


KEYS = read("keys")
INSTALLATION = raw(KEYS["installation"])
PUBLIC = {one["key_id"]: raw(one["public"]) for one in KEYS["keys"]}
NAMED = {one["name"]: one for one in KEYS["keys"]}
# A body in a trust message or an item is no envelope.
SEALED = [one for one in read("bodies") if one["type"] not in ("item", "trust")]


def name_of(row):
    return row["name"]


def signed_bytes(type_name, body):
    return b"".join(
        (
            b"RELIGHT1",
            INSTALLATION,
            len(type_name).to_bytes(1, "big"),
            type_name.encode(),
            len(body).to_bytes(4, "big"),
            body,
        )
    )


def opens(public, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def flat(fields):
    """A vector's named fields as the array that stands in the body."""
    if isinstance(fields, dict):
        return [flat(one) for one in fields.values()]
    if isinstance(fields, list):
        return [flat(one) for one in fields]
    if isinstance(fields, str) and fields.startswith("0x"):
        return raw(fields)
    return fields


@pytest.mark.parametrize("row", KEYS["keys"], ids=name_of)
def test_key_and_its_id_follow_from_the_seed(row):
    private = Ed25519PrivateKey.from_private_bytes(raw(row["seed"]))
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert raw(row["seed"]) == sha256(f"Relight test seed: {row['name']}".encode()).digest()
    assert raw(row["public"]) == public
    assert raw(row["key_id"]) == sha256(public).digest()[:8]


@pytest.mark.parametrize("row", read("bodies"), ids=name_of)
def test_body_is_the_msgpack_array_of_its_fields(row):
    assert msgpack.packb(flat(row["fields"]), use_bin_type=True) == raw(row["body"])
    assert msgpack.unpackb(raw(row["body"])) == flat(row["fields"])


@pytest.mark.parametrize("row", SEALED, ids=name_of)
def test_digest_and_id_follow_from_the_signed_bytes(row):
    digest = sha256(signed_bytes(row["type"], raw(row["body"]))).digest()
    assert raw(row["digest"]) == digest
    assert raw(row["id"]) == digest[:16]


@pytest.mark.parametrize("row", read("envelopes"), ids=name_of)
def test_envelope_verifies_and_holds_the_body(row):
    version, body, pairs = msgpack.unpackb(raw(row["payload"]))
    assert version == 1
    assert msgpack.packb([version, body, pairs], use_bin_type=True) == raw(row["payload"])
    ids = [one for one, _ in pairs]
    assert ids == sorted(set(ids))
    assert {"0x" + one.hex() for one in ids} == {NAMED[one]["key_id"] for one in row["signers"]}
    signed = signed_bytes(row["type"], body)
    assert raw(row["digest"]) == sha256(signed).digest()
    for identity, signature in pairs:
        assert opens(PUBLIC["0x" + identity.hex()], signature, signed)


@pytest.mark.parametrize("row", read("envelopes"), ids=name_of)
def test_signatures_can_be_made_again_byte_for_byte(row):
    _, body, pairs = msgpack.unpackb(raw(row["payload"]))
    for name in row["signers"]:
        private = Ed25519PrivateKey.from_private_bytes(raw(NAMED[name]["seed"]))
        signature = private.sign(signed_bytes(row["type"], body))
        assert [raw(NAMED[name]["key_id"]), signature] in pairs


def test_shards_of_topics_are_the_crc_of_their_ids():
    seen = 0
    for row in read("envelopes"):
        first, *rest = (row["topic"] or "").split("/")
        if first in ("hello", "acknowledgement"):
            assert rest[0] == f"{crc32(rest[1].encode()) % 16:02d}"
            seen += 1
        if first == "payment":
            _, body, _ = msgpack.unpackb(raw(row["payload"]))
            provider, items = msgpack.unpackb(body)[3:5]
            paid = f"{provider}/{items[0][4]}"
            assert rest == [f"{crc32(paid.encode()) % 16:02d}", provider]
            seen += 1
    assert seen == 4


def test_chain_follows_from_the_items():
    chain = read("chain")
    head = sha256(b"RELIGHT1 journal" + raw(chain["journal"]) + chain["agent"].encode()).digest()
    assert raw(chain["first_head"]) == head
    for row in chain["items"]:
        head = sha256(head + sha256(raw(row["item"])).digest()).digest()
        assert raw(row["head"]) == head


def test_root_pin_is_the_digest_of_root_document_1():
    _, body, _ = msgpack.unpackb(raw(KEYS["first_root"]))
    assert raw(KEYS["root_pin"]) == sha256(signed_bytes("root", body)).digest()
    assert msgpack.unpackb(body)[1] == INSTALLATION


def test_acknowledgement_heads_are_those_of_the_chain():
    chain = read("chain")
    rows = {one["name"]: one for one in read("bodies")}
    body = msgpack.unpackb(raw(rows["acknowledgement"]["body"]))
    assert body[4] == raw(chain["first_head"])
    packed = [msgpack.packb(item, use_bin_type=True) for item in body[5]]
    assert packed == [raw(one["item"]) for one in chain["items"]]
    filed = msgpack.unpackb(raw(rows["filed"]["body"]))
    assert filed[5] == raw(chain["items"][-1]["head"])


@pytest.mark.parametrize("row", read("negative")["signatures"], ids=name_of)
def test_ed25519_libraries_agree_wherever_the_key_is_a_usable_one(row):
    # OpenSSL (under `cryptography`) accepts some signatures under small-order keys, libsodium none.
    # Documents refuse such keys, so no message can depend on the difference.
    verdict = opens(raw(row["public"]), raw(row["signature"]), raw(row["message"]))
    if not row["is_small_order"]:
        assert verdict == row["is_valid"]


def test_libraries_differ_under_small_order_keys_only():
    differing = {
        row["name"]
        for row in read("negative")["signatures"]
        if opens(raw(row["public"]), raw(row["signature"]), raw(row["message"])) != row["is_valid"]
    }
    assert "key-of-order-1" in differing  # otherwise the check of documents stops nothing
    assert all(name.startswith("key-of-order-") for name in differing)


STEP_5 = [
    row
    for row in read("negative")["messages"]
    if row["verdict"].get("junk") == 5
    and "key-" not in row["name"]
    and "expired" not in row["name"]
]


@pytest.mark.parametrize("row", STEP_5, ids=name_of)
def test_bad_signature_of_a_message_is_bad_for_the_other_library_too(row):
    _, body, pairs = msgpack.unpackb(raw(row["payload"]))
    signed = signed_bytes(row["topic"].split("/")[0], body)
    assert not all(
        opens(PUBLIC["0x" + identity.hex()], signature, signed) for identity, signature in pairs
    )
