"""The byte tables of docs/protocol.md: every example body, field by field, from its vector.

A table stands between `<!-- bytes NAME -->` and `<!-- end -->`; what is between is replaced.
"""

import re

from tests.wire.bodies import BODIES
from tests.wire.installation import INSTALLATION, key
from tests.wire.spelling import array_header, elements, signed, signed_bytes
from wire.decoding import encode
from wire.envelope import digest
from wire.fields import Array

BLOCK = re.compile(r"<!-- bytes (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
COLUMN = 30  # hex digits of a short field; longer ones push their name to the next line
WIDTH = 96  # hex digits in one line
SHOWN_BYTES = 160  # of one field; the vectors have the rest
SHOWN_OF_LIST = 3  # elements of a list of structures; the vectors have the rest


def with_tables(page: str) -> str:
    """The page with every byte table made anew."""

    def table(found: re.Match[str]) -> str:
        name = found["name"]
        lines = envelope_table() if name == "envelope" else body_table(name)
        text = "\n".join(line.rstrip() for line in lines)
        return f"<!-- bytes {name} -->\n```text\n{text}\n```\n<!-- end -->"

    return BLOCK.sub(table, page)


def body_table(name: str) -> list[str]:
    type_name, body = BODIES[name]
    encoded = encode(body)
    lines = list(_array(body, encoded, 0))
    lines.append(f"{'':<{COLUMN}} {len(encoded)} bytes")
    if type_name not in ("item", "trust"):
        lines.append(f"digest  {digest(INSTALLATION, type_name, encoded).hex()}")
    return lines


def _array(value: Array, encoded: bytes, depth: int) -> list[str]:
    parts = elements(encoded)
    lines = [_line(array_header(len(parts)), f"array of {len(parts)}", depth)]
    for name, part in zip(value.__struct_fields__, parts, strict=True):
        field = getattr(value, name)
        if isinstance(field, Array):
            lines += _named(name, _array(field, part, depth + 1))
        elif isinstance(field, tuple):
            lines += _list(name, field, part, depth + 1)
        else:
            lines.append(_line(part, f"{name}{_shown(field)}", depth + 1))
    return lines


def _list(name: str, values: tuple[object, ...], encoded: bytes, depth: int) -> list[str]:
    parts = elements(encoded)
    lines = [_line(array_header(len(parts)), f"{name}: array of {len(parts)}", depth)]
    for value, part in list(zip(values, parts, strict=True))[:SHOWN_OF_LIST]:
        if isinstance(value, Array):
            lines += _array(value, part, depth + 1)
        else:
            lines.append(_line(part, _shown(value).removeprefix(" = "), depth + 1))
    if len(parts) > SHOWN_OF_LIST:
        indent = "  " * (depth + 1)
        lines.append(f"{indent}... and {len(parts) - SHOWN_OF_LIST} more")
    return lines


def _named(name: str, lines: list[str]) -> list[str]:
    return [f"{lines[0]} ({name})", *lines[1:]]


def _line(encoded: bytes, says: str, depth: int) -> str:
    indent = "  " * depth
    digits = encoded.hex()
    if len(encoded) > SHOWN_BYTES:
        digits = f"{digits[: WIDTH - 40]}..."
        says = f"{says} ({len(encoded):,} bytes with their header)"
    if len(indent + digits) <= COLUMN:
        return f"{indent + digits:<{COLUMN}} {says}"
    lines = [indent + digits[at : at + WIDTH] for at in range(0, len(digits), WIDTH)]
    return "\n".join([*lines, f"{'':<{COLUMN}} {says}".rstrip()])


def _shown(value: object) -> str:
    return "" if isinstance(value, bytes | tuple) or _is_raw(value) else f" = {_text(value)}"


def _is_raw(value: object) -> bool:
    return type(value).__name__ == "Raw"


def _text(value: object) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def envelope_table() -> list[str]:
    """The close of the vectors: what is signed, and what goes on the wire."""
    body = encode(BODIES["command-close"][1])
    under = signed_bytes("command", body)
    payload = signed("command", body, "engine")
    head, rest = payload[:4], payload[4 + len(body) :]
    return [
        'signed("command", body):',
        _line(under[:8], '"RELIGHT1"', 1),
        _line(under[8:24], "installation", 1),
        _line(under[24:25], "7, the length of the type", 1),
        _line(under[25:32], '"command"', 1),
        _line(under[32:36], f"{len(body)}, the length of the body", 1),
        _line(under[36:], "body", 1),
        "",
        "envelope:",
        _line(head[:1], "array of 3", 1),
        _line(head[1:2], "version = 1", 2),
        _line(head[2:], f"bin of {len(body)} bytes:", 2),
        _line(body, "body", 2),
        _line(rest[:2], "array of 1, holding an array of 2", 2),
        _line(rest[2:12], "key id: bin of 8 bytes", 3),
        _line(rest[12:], "signature: bin of 64 bytes", 3),
        f"{'':<{COLUMN}} {len(payload)} bytes",
        f"signed by the key `engine`, public key {key('engine').public.hex()}",
        f"digest  {digest(INSTALLATION, 'command', body).hex()}",
    ]
