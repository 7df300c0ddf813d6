"""The engine's place on the wire, taken by who only gives receipts: `bench.receiver CONFIG`.

It signs each receipt with the engine's key, as the intake must see it, and stores nothing; so an
intake is measured with its whole work, receipts verified and written, and without the engine's.
"""

import asyncio
import logging
import random
import sys
from pathlib import Path

import uvloop

from cloud.cli.installation import ENGINE
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from wire import envelope
from wire.decoding import decode_body, encode
from wire.link import Link
from wire.messages import Payment, Receipt, ReceiptItem
from wire.topics import engine_subscriptions, receipt_topic
from wire.vocabulary import ReceiptVerdict

_RECEIVE_MAX = 128


async def receive(installation: Installation) -> None:
    """Receipt every payment that arrives, until cancelled."""
    key = installation.signing_key(f"trust/keys/{ENGINE}.key")
    identity = installation.authorities(latest_ms=clock_ms()).root.installation
    settings = installation.link_settings(ENGINE, engine_subscriptions())
    link = Link(settings, randomness=random.Random(1))
    generation_ms = clock_ms()
    running = asyncio.create_task(link.run())
    while not running.done():
        deliveries = await link.receive(_RECEIVE_MAX)
        link.acknowledge(deliveries)
        for one in deliveries:
            if not one.topic.startswith("payment/"):
                continue
            payment = decode_body(Payment, envelope.unpack(one.payload).body)
            body = encode(_receipt(payment, generation_ms))
            payload = envelope.seal(identity, "receipt", body, [key])
            link.send(receipt_topic(payment.intake), payload)


def _receipt(payment: Payment, generation_ms: int) -> Receipt:
    return Receipt(
        intake=payment.intake,
        spool=payment.spool,
        generation_ms=generation_ms,
        items=tuple(
            ReceiptItem(number=item.number, raw16=item.raw[:16], verdict=ReceiptVerdict.STORED)
            for item in payment.items
        ),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(receive(Installation(Path(sys.argv[1]))))
