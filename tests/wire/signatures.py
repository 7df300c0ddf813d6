"""Raw Ed25519 cases: public key, message, signature, and whether the wire accepts it.

They are for whoever chooses a library: it must give these verdicts, or be given the missing check.
`small_order` marks keys that the documents refuse before any signature is looked at; some
libraries accept signatures under them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.wire.documents import NOT_A_POINT, ORDER_8, SMALL_ORDER
from tests.wire.installation import key
from tests.wire.junk_signers import ORDER_OF_GROUP

PRIME = 2**255 - 19
MESSAGE = b"Relight"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCase:
    name: str
    public: bytes
    message: bytes = MESSAGE
    signature: bytes
    is_valid: bool = False
    is_small_order: bool = False


def all_cases() -> Iterator[SignatureCase]:
    engine = key("engine")
    good = engine.sign(MESSAGE)
    half = good[:32]
    scalar = int.from_bytes(good[32:], "little")
    for name, message in {"plain": MESSAGE, "empty": b"", "long": b"x" * 1_000}.items():
        yield SignatureCase(
            name=f"good-{name}",
            public=engine.public,
            message=message,
            signature=engine.sign(message),
            is_valid=True,
        )
    changed = {
        "s-plus-l": half + _bytes(scalar + ORDER_OF_GROUP),
        "s-plus-2l": half + _bytes(scalar + 2 * ORDER_OF_GROUP),
        "s-high-bit": half + _bytes(scalar | 1 << 255),
        "s-negated": half + _bytes(ORDER_OF_GROUP - scalar),
        "r-sign-flipped": half[:31] + bytes((half[31] ^ 0x80,)) + good[32:],
        "one-bit-of-s": good[:63] + bytes((good[63] ^ 1,)),
        "another-message": engine.sign(b"Relight!"),
        "another-key": key("guard").sign(MESSAGE),
    }
    for name, signature in changed.items():
        yield SignatureCase(name=name, public=engine.public, signature=signature)
    yield from _special_values(engine.public)
    yield from _special_keys()


def _special_values(public: bytes) -> Iterator[SignatureCase]:
    """R and S at the edges of their ranges, under an honest key."""
    special = {"0": 0, "1": 1, "l-1": ORDER_OF_GROUP - 1, "l": ORDER_OF_GROUP, "p": PRIME}
    for r_name, r in {"0": 0, "1": 1, "p-1": PRIME - 1, "p": PRIME, "p+1": PRIME + 1}.items():
        for s_name, s in special.items():
            signature = _bytes(r) + _bytes(s)
            yield SignatureCase(name=f"r-{r_name}-s-{s_name}", public=public, signature=signature)


def _special_keys() -> Iterator[SignatureCase]:
    """Keys nobody holds the private half of. R = neutral, S = 0 'verifies' under order 1."""
    neutral = _bytes(1)
    keys = {
        "order-1": SMALL_ORDER,
        "order-2": _bytes(PRIME - 1),
        "order-4": bytes(32),
        "order-8": ORDER_8,
        "order-1-not-canonical": _bytes(PRIME + 1),
    }
    for name, public in keys.items():
        yield SignatureCase(
            name=f"key-of-{name}", public=public, signature=neutral + bytes(32), is_small_order=True
        )
    yield SignatureCase(name="key-not-on-curve", public=NOT_A_POINT, signature=neutral + bytes(32))


def _bytes(number: int) -> bytes:
    return number.to_bytes(32, "little")
