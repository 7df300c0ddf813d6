"""What a link is told once: who it is, where the brokers are, its certificate, its bounds.

Every bound that a link keeps stands here, with its unit and its reason. Wrong settings are refused
when they are made, with the value, and not when the first connection fails.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

_PACKET_IDS = 60_000  # publish ids are 1 to here; the one above belongs to SUBSCRIBE
_FOR_EVER_S = 0xFFFF_FFFF  # the wire's Session Expiry Interval has four bytes


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificate authority to believe, and our own certificate and key (PEM files)."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us, at QoS 1, when we vanish without a word."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Everything a link is told.

    `tls` is None only in tests on loopback. `canary` is the topic `canary/{own name}`, subscribed
    to besides `subscriptions`.
    """

    client_id: str
    brokers: tuple[BrokerAddress, ...]
    tls: TlsFiles | None
    subscriptions: tuple[str, ...]
    canary: str | None = None
    will: Will | None = None

    # A week of absence: a concentrator that was dark over a long holiday finds its messages.
    session_expiry_s: int = 7 * 86_400
    # Messages the broker may send ahead of our PUBACKs. mosquitto 2.0.11 does not hold it, so it
    # is a hint; what bounds our memory is receive_queue_max.
    receive_window: int = 256
    # Publishes on the wire without PUBACK; the broker's Receive Maximum - 2 if that is less.
    # 256 of 16 kB are 4 MB, and keep loopback and a 50 ms line busy at 5,000 a second.
    publish_window: int = 256
    # Messages waiting for `receive`; above it the socket is not read. Some seconds of full load.
    receive_queue_max: int = 4_096
    # Publishes waiting for the window; above it `send` answers LinkFull. The outbox has them all.
    send_queue_max: int = 16_384
    # Seconds of silence after which the peer is asked; it is given up after 1.5 times as many.
    keepalive_s: int = 20
    # Seconds for TCP, TLS, CONNACK and SUBACK together; a broker greeting 1,450 agents takes 4.
    connect_timeout_s: float = 15.0
    # Seconds that a PUBACK, or the canary on an idle line, may take before the line is given up.
    answer_timeout_s: float = 20.0
    # Seconds: the longest pause before the first new try, doubled at each failure up to the cap,
    # and always a uniform part of it, so that 1,450 agents do not return in one moment.
    retry_first_s: float = 1.0
    retry_cap_s: float = 8.0
    # Seconds between tries when a person must act (not authorised, cloned certificate).
    refused_retry_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuses settings that can never work.

        Raises:
            ValueError: with the name and the value.
        """
        if not self.client_id.isascii() or not self.client_id:
            raise ValueError(f"client_id {self.client_id!r}: must be ASCII and not empty")
        if not self.brokers:
            raise ValueError("brokers: name at least one broker")
        for topic in (self.canary, self.will and self.will.topic):
            if topic and ("+" in topic or "#" in topic):
                raise ValueError(f"{topic!r}: a topic to publish on holds no + and no #")
        for name, value, maximum in (
            ("publish_window", self.publish_window, _PACKET_IDS),
            ("receive_window", self.receive_window, _PACKET_IDS),
            ("session_expiry_s", self.session_expiry_s, _FOR_EVER_S),
            ("keepalive_s", self.keepalive_s, 65_535),
            ("receive_queue_max", self.receive_queue_max, 1_000_000),
            ("send_queue_max", self.send_queue_max, 1_000_000),
        ):
            if not 1 <= value <= maximum:
                raise ValueError(f"{name} {value}: must be 1 to {maximum}")


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.3 with our certificate, believing only the given authority.

    Raises:
        OSError: a file is missing or is not PEM; the message names the three files.
    """
    try:
        context = ssl.create_default_context(cafile=str(files.ca))
        context.load_cert_chain(files.certificate, files.key)
    except OSError as error:
        named = f"{files.ca}, {files.certificate}, {files.key}"
        raise OSError(f"TLS files {named}: {error}; are they readable PEM files?") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
