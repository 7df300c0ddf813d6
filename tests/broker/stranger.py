"""A client nobody here wrote (paho), which tries what it may not."""

import queue
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.broker.running_broker import LONGEST_WAIT_S
from wire.link import TlsFiles


class Stranger:
    """`refusal`: why there is no connection; otherwise it is connected."""

    def __init__(self, client_id: str, protocol: MQTTProtocolVersion) -> None:
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.refusal = ""
        self._settled = threading.Event()
        self._answered = threading.Event()
        self._codes: dict[int, int] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self._settle("closed by the broker")
        self.client.on_message = lambda _c, _u, one: self.heard.put((one.topic, one.payload))
        self.client.on_publish = self._on_publish
        self.client.on_subscribe = lambda *_: self._answered.set()

    def connect(self, port: int, tls: ssl.SSLContext | None) -> None:
        if tls is not None:
            self.client.tls_set_context(tls)
        try:
            self.client.connect("127.0.0.1", port, keepalive=10)
        except OSError as error:
            self._settle(str(error))
            return
        self.client.loop_start()
        assert self._settled.wait(LONGEST_WAIT_S)

    def subscribe(self, topic: str) -> None:
        self._answered.clear()
        self.client.subscribe(topic, 1)
        assert self._answered.wait(LONGEST_WAIT_S)

    def publish(self, topic: str, payload: bytes) -> int:
        """Publishes and returns the code of PUBACK."""
        message = self.client.publish(topic, payload, 1)
        message.wait_for_publish(LONGEST_WAIT_S)
        return self._codes[message.mid]

    def _on_connect(self, *arguments: object) -> None:
        reason = arguments[3]
        self._settle(str(reason) if getattr(reason, "is_failure", False) else "")

    def _on_publish(self, *arguments: object) -> None:
        self._codes[int(str(arguments[2]))] = int(getattr(arguments[3], "value", 0))

    def _settle(self, refusal: str) -> None:
        if not self._settled.is_set():
            self.refusal = refusal
            self._settled.set()


def context(files: TlsFiles, *, shows_certificate: bool = True) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(files.ca))
    if shows_certificate:
        made.load_cert_chain(files.certificate, files.key)
    return made


@contextmanager
def stranger(
    port: int,
    tls: ssl.SSLContext | None,
    client_id: str = "",
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
) -> Iterator[Stranger]:
    one = Stranger(client_id, protocol)
    one.connect(port, tls)
    try:
        yield one
    finally:
        one.client.disconnect()
        one.client.loop_stop()
