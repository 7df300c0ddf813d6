"""The bytes of the three packets of the hot path: PUBLISH, PUBACK, DISCONNECT (MQTT 5, 3.3-3.14).

No properties are written and none are read: nothing outside a signature is ever needed.
Decoding a short or odd packet raises ValueError or IndexError.
"""

PUBLISH, PUBACK, DISCONNECT = 0x30, 0x40, 0xE0
PINGREQ_FRAME = b"\xc0\x00"


def publish_frame(topic: str, payload: bytes, packet_id: int, *, retain: bool) -> bytes:
    """A PUBLISH: QoS 1 under packet_id, QoS 0 when that is 0."""
    name = topic.encode()
    qos_bits, number = (2, packet_id.to_bytes(2, "big")) if packet_id else (0, b"")
    rest = 3 + len(name) + len(number) + len(payload)
    first = bytes((PUBLISH | qos_bits | retain, *_variable_length(rest)))
    return b"".join((first, len(name).to_bytes(2, "big"), name, number, b"\x00", payload))


def puback_frames(packet_ids: list[int]) -> bytes:
    """One PUBACK, reason success, for each packet id."""
    return b"".join([b"\x40\x02" + number.to_bytes(2, "big") for number in packet_ids])


def disconnect_frame(code: int) -> bytes:
    """A DISCONNECT with a reason code."""
    return bytes((DISCONNECT, 2, code, 0))


def parse_publish(first: int, data: bytes) -> tuple[str, bytes, int]:
    """Topic, payload and packet id (0 at QoS 0) of a PUBLISH behind its fixed header."""
    after = 2 + (data[0] << 8 | data[1])
    topic = data[2:after].decode()
    qos = first >> 1 & 3
    packet_id = 0
    if qos == 1:
        packet_id = data[after] << 8 | data[after + 1]
        after += 2
    elif qos > 1:
        raise ValueError("QoS 2 was never asked for")
    after = _behind_properties(data, after)
    if after > len(data):
        raise ValueError("properties end behind the packet")
    return topic, data[after:], packet_id


def _behind_properties(data: bytes, at: int) -> int:
    length, shift = data[at] & 0x7F, 7
    while data[at] & 0x80:
        at += 1
        length |= (data[at] & 0x7F) << shift
        shift += 7
    return at + 1 + length


def _variable_length(number: int) -> tuple[int, ...]:
    if number < 0x80:
        return (number,)
    return (number & 0x7F | 0x80, *_variable_length(number >> 7))
