"""The least that can send after a start: `bench.bare_client FOLDER NAME PORT TOPIC`.

It imports the link, connects with TLS and publishes one message: no ledger, no keys, no engine.
"""

import asyncio
import random
import sys
from pathlib import Path

from wire.link import BrokerAddress, Link, LinkSettings, TlsFiles

_CONNECTED_WITHIN_S = 15


async def _send_one(folder: Path, name: str, port: int, topic: str) -> None:
    settings = LinkSettings(
        client_id=name,
        brokers=(BrokerAddress("127.0.0.1", port),),
        tls=TlsFiles(
            ca=folder / "ca.crt", certificate=folder / f"{name}.crt", key=folder / f"{name}.key"
        ),
        subscriptions=(),
        canary=f"canary/{name}",
    )
    link = Link(settings, randomness=random.Random(1))
    running = asyncio.create_task(link.run())
    await asyncio.wait_for(link.until_ready(), _CONNECTED_WITHIN_S)
    await link.publish(topic, bytes(169))  # the size of a command
    await link.stop()
    await running


if __name__ == "__main__":
    asyncio.run(_send_one(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
