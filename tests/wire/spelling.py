"""msgpack by hand: an encoder that also makes what nobody may send, and the parts of an array.

Made with the `msgpack` library and plain bytes, never with the product's encoder, so that a
vector's bytes and the product's decoder have nothing in common.
"""

from collections.abc import Sequence
from io import BytesIO

import msgpack

from tests.wire.installation import INSTALLATION, key


def pack(value: object) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def array_header(count: int) -> bytes:
    return bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def elements(array: bytes) -> list[bytes]:
    """The encodings of an array's elements, one by one."""
    unpacker = msgpack.Unpacker(BytesIO(array), strict_map_key=False)
    found = []
    for _ in range(unpacker.read_array_header()):
        start = unpacker.tell()
        unpacker.skip()
        found.append(array[start : unpacker.tell()])
    return found


def joined(parts: Sequence[bytes]) -> bytes:
    return array_header(len(parts)) + b"".join(parts)


def with_element(array: bytes, place: int, element: bytes) -> bytes:
    """`array` with one element's encoding replaced."""
    parts = elements(array)
    parts[place] = element
    return joined(parts)


def signed_bytes(type_name: str, body: bytes, installation: bytes = INSTALLATION) -> bytes:
    """The bytes under a signature, written out once more."""
    name = type_name.encode("ascii")
    return (
        b"RELIGHT1"
        + installation
        + len(name).to_bytes(1, "big")
        + name
        + len(body).to_bytes(4, "big")
        + body
    )


def signatures(type_name: str, body: bytes, *names: str) -> list[list[bytes]]:
    """[key id, signature] of each of these keys, ascending."""
    signed = signed_bytes(type_name, body)
    return sorted([key(name).key_id, key(name).sign(signed)] for name in names)


def envelope(body: bytes, pairs: Sequence[Sequence[bytes]], version: int = 1) -> bytes:
    return pack([version, body, [list(pair) for pair in pairs]])


def signed(type_name: str, body: bytes, *names: str) -> bytes:
    """The envelope of any bytes at all, signed by the keys of these names."""
    return envelope(body, signatures(type_name, body, *names))
