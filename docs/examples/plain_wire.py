"""Relight's bytes in plain Python: msgpack, Ed25519, the tables of bodies, envelopes.

The ground floor of the tutorial: plain_trust.py stands on it, plain_agent.py on both. It needs the
standard library and nothing else, so that each rule of docs/protocol.md can be read in a few lines.
A concentrator would use its own libraries for the first two parts.
"""

# ruff: noqa: INP001  # an example is a script

import hashlib
import re
import struct
from typing import Any


class JunkError(ValueError):
    """Fails steps 1 to 7: never answered, nothing stored."""


# 1. Bytes: msgpack in exactly one spelling. Unpack, pack again, compare: other bytes are junk.

_FORMS = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q"}  # unsigned integers
_SIZES = _FORMS | {0xC4: "B", 0xC5: "H", 0xD9: "B", 0xDA: "H", 0xDC: "H"}


def pack(value: Any) -> bytes:
    """The one spelling of nil, bool, integer, text, bytes or array."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        if not 0 <= value < 2**53:
            raise JunkError(f"{value} is no integer from 0 to 2^53 - 1")
        bits = next(bits for bits in (7, 8, 16, 32, 64) if value < 1 << bits)
        code = {7: b"", 8: b"\xcc", 16: b"\xcd", 32: b"\xce", 64: b"\xcf"}[bits]
        return code + value.to_bytes(max(1, bits // 8), "big")
    if isinstance(value, str):
        return _head(len(value), 0xA0, 32, b"\xd9", b"\xda") + value.encode("ascii")
    if isinstance(value, bytes):
        return _head(len(value), 0, 0, b"\xc4", b"\xc5") + value
    return _head(len(value), 0x90, 16, b"", b"\xdc") + b"".join(map(pack, value))


def _head(size: int, fixed: int, below: int, byte: bytes, word: bytes) -> bytes:
    if size < below:
        return bytes([fixed | size])
    return byte + bytes([size]) if byte and size < 256 else word + struct.pack(">H", size)


def unpack(data: bytes) -> Any:
    """The value of these bytes; JunkError if they are not its one spelling."""
    try:
        value, _ = _unpack(data, 0, 0)
        if pack(value) == data:
            return value
    except (IndexError, struct.error, ValueError):
        pass  # truncated, not ASCII, too large
    raise JunkError("not the one spelling of a value")


def _unpack(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    code, at = data[at], at + 1
    if code < 0x80 or code in (0xC0, 0xC2, 0xC3):
        return (code if code < 0x80 else {0xC0: None, 0xC2: False, 0xC3: True}[code]), at
    size = code & (0x0F if code < 0xA0 else 0x1F)
    if code in _SIZES:
        (size,) = struct.unpack_from(">" + _SIZES[code], data, at)
        at += struct.calcsize(_SIZES[code])
    if code in _FORMS:
        return size, at
    if 0xA0 <= code < 0xC0 or code in (0xD9, 0xDA):
        return data[at : at + size].decode("ascii"), at + size
    if code in (0xC4, 0xC5):
        return data[at : at + size], at + size
    if not (0x90 <= code < 0xA0 or code == 0xDC) or depth > 8:
        raise JunkError(f"no value begins with {code:02x} here")
    values = []
    for _ in range(size):
        value, at = _unpack(data, at, depth + 1)
        values.append(value)
    return values, at


# 2. Ed25519 (RFC 8032), in extended coordinates. Slow (some 10 ms) and not constant in time.

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, I = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P)  # noqa: E741  # as in the RFC
Point = tuple[int, int, int, int]


def _add(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        total = _add(total, point) if scalar & 1 else total
        point, scalar = _add(point, point), scalar >> 1
    return total


def _encode(point: Point) -> bytes:
    z = pow(point[2], -1, P)
    x, y = point[0] * z % P, point[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decode(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * I % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = _decode((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or (0, 1, 1, 0)


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


class SigningKey:
    """A private key, from its 32-byte seed."""

    def __init__(self, seed: bytes) -> None:
        digest = hashlib.sha512(seed).digest()
        self._scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self._prefix = digest[32:]
        self.public = _encode(_times(self._scalar, BASE))

    def sign(self, signed: bytes) -> bytes:
        """The signature, 64 bytes."""
        r = _hash(self._prefix, signed) % L
        first = _encode(_times(r, BASE))
        second = (r + _hash(first, self.public, signed) * self._scalar) % L
        return first + second.to_bytes(32, "little")


def verifies(public: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether it is a signature of that key; S < L, and R compared as bytes."""
    key, s = _decode(public), int.from_bytes(signature[32:], "little")
    if key is None or s >= L:
        return False
    minus = (P - key[0], key[1], 1, P - key[3])
    h = _hash(signature[:32], public, signed) % L
    return _encode(_add(_times(s, BASE), _times(h, minus))) == signature[:32]


def is_usable(public: bytes) -> bool:
    """Not of small order: such a key verifies what nobody signed."""
    key = _decode(public)
    return key is not None and _encode(_times(8, key)) != _encode((0, 1, 1, 0))


# 3. Bodies: the tables of docs/protocol.md, one word for each field. `b8` is 8 bytes, `t32` text of
# at most 32, `?` may be nil, `[word 0 16]` is a list of 0 to 16, a name is a row of its own.

ROWS = {
    "welcome": "one id b16 ms ms epoch ms verdict n ms ms n b32",
    "command": "one action id id epoch ms ms b32 b16?",
    "filed": "one id b8 ms n b32",
    "stop": "one ms t64",
    "resume": "one ms t64",
    "trust": "one [bytes 0 16] bytes",
    "root": "one b16 n+ ms threshold [root-key 1 7]",
    "root-key": "b32 t32",
    "registry": "one n+ n+ ms ms epoch [key 1 64] policy",
    "key": "b32 role subject [t32 0 16] epoch ms ms t16",
    "policy": "n n n n n [window 0 8] [n 0 128] n",
    "window": "weekdays minute minute",
    "envelope": "one bytes [signature 1 4]",
    "signature": "b8 b64",
}
LARGEST = {"one": 1, "n": 2**53 - 1, "n+": 2**53 - 1, "ms": 2**48 - 1, "epoch": 65_535}
LARGEST |= {"threshold": 2, "weekdays": 127, "minute": 1_440}
PATTERNS = {
    "id": "[A-Z0-9][A-Z0-9-]{0,31}",
    "action": "[a-z]{1,16}",
    "subject": "[ -~]{1,32}",
    "verdict": "known|new|rolled_back|retired",
    "role": "enrol|engine|time|guard|approver|stop|intake",
}


def fits(word: str, value: Any) -> bool:
    """Whether the value is what this word of a table says."""
    if word.endswith("?"):
        return value is None or fits(word[:-1], value)
    if word.startswith("["):
        item, least, most = word[1:-1].split()
        is_list = isinstance(value, list) and int(least) <= len(value) <= int(most)
        return is_list and all(fits(item, one) for one in value)
    if word in ROWS:
        words = re.findall(r"\[.*?\]|\S+", ROWS[word])
        is_row = isinstance(value, list) and len(value) == len(words)
        return is_row and all(map(fits, words, value))
    if word in LARGEST:
        least = 1 if word in ("one", "n+", "threshold") else 0
        return type(value) is int and least <= value <= LARGEST[word]
    if word in PATTERNS or word[0] == "t":
        pattern = PATTERNS.get(word) or f"[ -~]{{0,{word[1:]}}}"
        return isinstance(value, str) and re.fullmatch(pattern, value) is not None
    return isinstance(value, bytes) and word in ("bytes", f"b{len(value)}")


def fields(kind: str, body: bytes) -> list[Any]:
    """The fields of a body; JunkError unless each is what its table says."""
    value = unpack(body)
    if not fits(kind, value):
        raise JunkError(f"no {kind}")
    return value


# 4. Envelopes.


def signed_bytes(installation: bytes, kind: str, body: bytes) -> bytes:
    """What a signature is over."""
    head = b"RELIGHT1" + installation + bytes([len(kind)]) + kind.encode()
    return head + struct.pack(">I", len(body)) + body


def seal(installation: bytes, kind: str, value: list[Any], key: SigningKey) -> bytes:
    """The envelope of one body under one signature."""
    body = pack(value)
    return pack([1, body, [[key_id(key.public), key.sign(signed_bytes(installation, kind, body))]]])


def key_id(public: bytes) -> bytes:
    """The first 8 bytes of its SHA-256."""
    return hashlib.sha256(public).digest()[:8]


def opened(payload: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Body and signatures by key id, none of them verified."""
    _, body, signatures = fields("envelope", payload)
    ids = [one[0] for one in signatures]
    if ids != sorted(set(ids)):
        raise JunkError("key ids do not ascend")
    return body, dict(signatures)


def verified(installation: bytes, kind: str, payload: bytes, publics: list[bytes]) -> bytes:
    """The body, if every signature is of one of these keys and verifies."""
    body, signatures = opened(payload)
    known = {key_id(one): one for one in publics}
    signed = signed_bytes(installation, kind, body)
    if not all(i in known and verifies(known[i], s, signed) for i, s in signatures.items()):
        raise JunkError(f"{kind}: a signature is no good")
    return body
