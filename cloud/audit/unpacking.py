"""msgpack as docs/protocol.md allows it: arrays, str, bin, nil, bool, integers in shortest form."""

from collections.abc import Callable

INTEGER_LIMIT = 2**53
DEPTH_MAX = 8  # the deepest message has four levels

Value = int | str | bytes | bool | None | list["Value"]


class SpellingError(ValueError):
    """Bytes that are not the one spelling of a value."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise SpellingError(f"ends at {len(self.data)}, {end} bytes were announced")
        part = self.data[self.at : end]
        self.at = end
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self, size: int, least: int) -> int:
        """A length or integer of `size` bytes that must not fit into fewer."""
        found = self.number(size)
        if found < least:
            raise SpellingError(f"{found} stands in {size} bytes: not the shortest form")
        return found

    def value(self, depth: int = 0) -> Value:
        if depth > DEPTH_MAX:
            raise SpellingError(f"nested deeper than {DEPTH_MAX}")
        mark = self.number(1)
        if mark < 0x80:
            return mark
        if 0x90 <= mark <= 0x9F:
            return self.array(mark & 0x0F, depth)
        if 0xA0 <= mark <= 0xBF:
            return self.text(mark & 0x1F)
        known = _MARKS.get(mark)
        if known is None:
            raise SpellingError(f"the mark {mark:#04x} is not used on this wire")
        return known(self, depth)

    def array(self, count: int, depth: int) -> list[Value]:
        return [self.value(depth + 1) for _ in range(count)]

    def text(self, size: int) -> str:
        raw = self.take(size)
        if not all(0x20 <= one <= 0x7E for one in raw):
            raise SpellingError(f"text {raw!r} is not printable ASCII")
        return raw.decode("ascii")

    def integer(self, size: int, least: int) -> int:
        found = self.sized(size, least)
        if found >= INTEGER_LIMIT:
            raise SpellingError(f"{found} is not below 2^53")
        return found


_MARKS: dict[int, Callable[[_Reader, int], Value]] = {
    0xC0: lambda _reader, _depth: None,
    0xC2: lambda _reader, _depth: False,
    0xC3: lambda _reader, _depth: True,
    0xC4: lambda reader, _depth: reader.take(reader.sized(1, 0)),
    0xC5: lambda reader, _depth: reader.take(reader.sized(2, 1 << 8)),
    0xC6: lambda reader, _depth: reader.take(reader.sized(4, 1 << 16)),
    0xCC: lambda reader, _depth: reader.integer(1, 1 << 7),
    0xCD: lambda reader, _depth: reader.integer(2, 1 << 8),
    0xCE: lambda reader, _depth: reader.integer(4, 1 << 16),
    0xCF: lambda reader, _depth: reader.integer(8, 1 << 32),
    0xD9: lambda reader, _depth: reader.text(reader.sized(1, 1 << 5)),
    0xDC: lambda reader, depth: reader.array(reader.sized(2, 1 << 4), depth),
}


def unpack(data: bytes) -> Value:
    """The value of `data`, all of it.

    Raises:
        SpellingError: another spelling, something behind it, or a form this wire does not use.
    """
    reader = _Reader(data)
    value = reader.value()
    if reader.at != len(data):
        raise SpellingError(f"{len(data) - reader.at} bytes stand behind the value")
    return value


def unpack_array(data: bytes, count: int) -> list[Value]:
    """An array of exactly `count` values.

    Raises:
        SpellingError: as `unpack`, or another shape.
    """
    value = unpack(data)
    if not isinstance(value, list) or len(value) != count:
        raise SpellingError(f"an array of {count} was expected")
    return value
