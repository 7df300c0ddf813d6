"""A private key at rest: sealed with XSalsa20-Poly1305 under a passphrase and Argon2id.

Rules kept here: the costs stand in the file, so they can be raised later, and are bounded when it
is read, so a prepared file cannot take all memory; a wrong passphrase and a changed file look the
same, and both are refused.
"""

from collections.abc import Callable

from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from wire.keys import SEED_BYTES, SigningKey

MAGIC = "relight-key-1"
# libsodium's interactive costs: 64 MiB, some 0.1 s. A start of the engine waits for it.
OPS = pwhash.argon2id.OPSLIMIT_INTERACTIVE
MEMORY_BYTES = pwhash.argon2id.MEMLIMIT_INTERACTIVE
OPS_MAX = 16
MEMORY_MAX_BYTES = 1 << 30  # a concentrator's file must not be able to ask for more
PASSPHRASE_MIN_CHARACTERS = 12


class SealedKeyError(ValueError):
    """A sealed key that cannot be opened."""


def is_sealed(text: str) -> bool:
    """Whether a key file's line is a sealed key."""
    return text.startswith(MAGIC + " ")


def seal_key(key: SigningKey, passphrase: str, random_bytes: Callable[[int], bytes]) -> str:
    """One line: `relight-key-1 OPS MEMORY SALT BOX`, the last two in hex.

    Raises:
        SealedKeyError: the passphrase is too short to be one.
    """
    if len(passphrase) < PASSPHRASE_MIN_CHARACTERS:
        raise SealedKeyError(
            f"a passphrase has at least {PASSPHRASE_MIN_CHARACTERS} characters,"
            f" this one {len(passphrase)}"
        )
    salt = random_bytes(pwhash.argon2id.SALTBYTES)
    box = _box(passphrase, salt, OPS, MEMORY_BYTES)
    sealed = bytes(box.encrypt(key.seed, random_bytes(SecretBox.NONCE_SIZE)))
    return f"{MAGIC} {OPS} {MEMORY_BYTES} {salt.hex()} {sealed.hex()}"


def open_key(text: str, passphrase: str) -> SigningKey:
    """The key in a sealed line.

    Raises:
        SealedKeyError: another format, costs out of bounds, a wrong passphrase or a changed file.
    """
    try:
        magic, ops_text, memory_text, salt_text, sealed_text = text.split(" ")
        ops, memory = int(ops_text), int(memory_text)
        salt, sealed = bytes.fromhex(salt_text), bytes.fromhex(sealed_text)
    except ValueError:
        raise SealedKeyError("is no sealed key: five words were expected") from None
    is_bounded = 1 <= ops <= OPS_MAX and 8_192 <= memory <= MEMORY_MAX_BYTES
    if magic != MAGIC or len(salt) != pwhash.argon2id.SALTBYTES or not is_bounded:
        raise SealedKeyError(f"is no sealed key of a known kind: {magic} {ops} {memory}")
    try:
        seed = _box(passphrase, salt, ops, memory).decrypt(sealed)
    except (CryptoError, ValueError):
        raise SealedKeyError("does not open: the passphrase is wrong, or it was changed") from None
    if len(seed) != SEED_BYTES:
        raise SealedKeyError(f"holds {len(seed)} bytes, not a seed of {SEED_BYTES}")
    return SigningKey(seed)


def _box(passphrase: str, salt: bytes, ops: int, memory: int) -> SecretBox:
    secret = pwhash.argon2id.kdf(
        SecretBox.KEY_SIZE, passphrase.encode("utf-8"), salt, opslimit=ops, memlimit=memory
    )
    return SecretBox(secret)
