"""A ceremony with two of three holders, by the commands they type, up to what an agent accepts."""

import json

import pytest

from cloud.ceremony.placing import held
from tests.cloud.cli.commands import done, refused, relight
from wire.decoding import decode_trust
from wire.key_files import is_sealed_file, read_signing_key
from wire.trust import accept, anchor
from wire.vocabulary import Role

NAMES = ("ROOT-A", "ROOT-B", "ROOT-C", "ENGINE-1", "ENGINE-1B", "INTAKE-1", "ENROL", "GUARD-1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Eight sealed keys, made once: Argon2id takes its time."""
    folder = tmp_path_factory.mktemp("keys")
    passphrase = folder / "passphrase"
    passphrase.write_text("correct horse battery\n")
    passphrase.chmod(0o600)
    for name in NAMES:
        done("keys", "create", name, "--out", folder, "--passphrase-file", passphrase)
    return folder


@pytest.fixture
def place(made, tmp_path):
    return Place(made, tmp_path)


class Place:
    def __init__(self, made, folder):
        self.made = made
        self.folder = folder
        self.trust = folder / "trust"
        self.count = 0
        public = {name: (made / f"{name}.public").read_text().strip() for name in NAMES}
        roots = ", ".join(f'{{holder = "{name}", public = "{public[name]}"}}' for name in NAMES[:3])
        keys = ", ".join(
            f'{{role = "{role}", subject = "{name}", public = "{public[name]}"{more}}}'
            for role, name, more in (
                ("engine", "ENGINE-1", ", epoch = 1"),
                ("intake", "INTAKE-1", ', scope = ["RAZORPAY"]'),
                ("enrol", "ENROL", ""),
                ("guard", "GUARD-1", ""),
            )
        )
        (folder / "ceremony.toml").write_text(f"threshold = 2\nroot = [{roots}]\nkey = [{keys}]\n")

    def out(self):
        self.count += 1
        return self.folder / f"out-{self.count}"

    def sign(self, out, *holders):
        passphrase = self.made / "passphrase"
        for name in holders:
            done(
                *("keys", "sign", *sorted(out.glob("*.draft"))),
                *("--key", self.made / f"{name}.key", "--passphrase-file", passphrase, "--yes"),
            )

    def begin(self):
        out = self.out()
        done("keys", "ceremony", self.folder / "ceremony.toml", out, "--trust", self.trust)
        self.sign(out, "ROOT-A", "ROOT-C")
        done("keys", "finish", out, "--trust", self.trust)


def key_id_of(place, name):
    passphrase = (place.made / "passphrase").read_text().strip()
    return read_signing_key(place.made / f"{name}.key", passphrase).key_id.hex()


def test_private_keys_are_sealed_and_never_written_over(made):
    assert all(is_sealed_file(made / f"{name}.key") for name in NAMES)
    passphrase = made / "passphrase"
    said = refused("keys", "create", "ENROL", "--out", made, "--passphrase-file", passphrase)
    assert "never written over" in said


def test_what_two_of_three_holders_signed_is_accepted_by_a_production_agent(place):
    place.begin()
    pin = bytes.fromhex((place.trust / "pin").read_text())
    begun = anchor((place.trust / "root-1").read_bytes(), pin)
    documents = decode_trust((place.trust / "documents").read_bytes())
    found = accept(begun, documents, latest_ms=0, is_production=True)
    assert found.registry is not None
    assert {one.role for one in found.registry.keys} == {
        *(Role.ENGINE, Role.INTAKE, Role.ENROL, Role.GUARD),
    }


def test_one_holder_alone_puts_nothing_in_place(place):
    out = place.out()
    done("keys", "ceremony", place.folder / "ceremony.toml", out, "--trust", place.trust)
    place.sign(out, "ROOT-A")
    said = refused("keys", "finish", out, "--trust", place.trust)
    assert "1 of root 1's keys signed, 2 are needed" in said
    assert not place.trust.exists()


def test_holder_cannot_sign_twice(place):
    out = place.out()
    done("keys", "ceremony", place.folder / "ceremony.toml", out, "--trust", place.trust)
    place.sign(out, "ROOT-A")
    again = relight(
        *("keys", "sign", out / "root.draft", "--key", place.made / "ROOT-A.key"),
        *("--passphrase-file", place.made / "passphrase", "--yes"),
    )
    assert again.exit_code == 1
    assert "has signed this root already" in again.stderr


def test_draft_that_was_changed_between_its_signers_is_not_accepted(place):
    out = place.out()
    done("keys", "ceremony", place.folder / "ceremony.toml", out, "--trust", place.trust)
    place.sign(out, "ROOT-A")
    draft = json.loads((out / "registry.draft").read_text())
    name = b"ENROL".hex()
    draft["body"] = draft["body"].replace(name, b"ENROM".hex())
    (out / "registry.draft").write_text(json.dumps(draft))
    place.sign(out, "ROOT-C")
    assert "is no good" in refused("keys", "finish", out, "--trust", place.trust)


def test_rotation_and_revocation_follow_each_other(place):
    place.begin()
    out = place.out()
    fresh = f"{key_id_of(place, 'ENGINE-1')}={place.made / 'ENGINE-1B.public'}"
    done("keys", "rotate", out, "--replace", fresh, "--trust", place.trust)
    place.sign(out, "ROOT-A", "ROOT-B")
    done("keys", "finish", out, "--trust", place.trust)
    found = held(place.trust)
    assert sorted(one.epoch for one in found.registry.keys if one.role is Role.ENGINE) == [1, 2]
    out = place.out()
    done("keys", "revoke", out, key_id_of(place, "ENGINE-1"), "--trust", place.trust)
    place.sign(out, "ROOT-B", "ROOT-C")
    done("keys", "finish", out, "--trust", place.trust)
    found = held(place.trust)
    assert (found.registry_version, found.registry.epoch_floor) == (3, 2)
    assert "registry 3" in done("keys", "show", "--trust", place.trust)


def test_older_registry_is_not_put_back(place):
    place.begin()
    first = place.folder / "out-1"
    out = place.out()
    done("keys", "renew", out, "--trust", place.trust)
    place.sign(out, "ROOT-A", "ROOT-B")
    done("keys", "finish", out, "--trust", place.trust)
    (first / "root.draft").unlink()
    said = refused("keys", "finish", first, "--trust", place.trust)
    assert "registry 1 is older than 2" in said


def test_root_is_changed_by_the_holders_of_both(place):
    place.begin()
    out = place.out()
    done("keys", "ceremony", place.folder / "ceremony.toml", out, "--trust", place.trust)
    place.sign(out, "ROOT-B", "ROOT-C")
    done("keys", "finish", out, "--trust", place.trust)
    found = held(place.trust)
    assert (found.root.root_version, found.registry_version) == (2, 2)
    assert found.root.installation == held(place.trust).root.installation


def test_change_before_the_first_ceremony_says_how_to_begin(place):
    said = refused("keys", "renew", place.out(), "--trust", place.trust)
    assert "begin with `relight keys ceremony`" in said
