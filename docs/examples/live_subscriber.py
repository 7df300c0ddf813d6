"""A live view in one file: prints every line that Relight shows to the world.

    python docs/examples/live_subscriber.py HOST PORT CERTIFICATES NAME

CERTIFICATES is a folder with ca.crt, NAME.crt and NAME.key (relight broker init makes them). It
needs `pip install aiomqtt` and nothing of Relight. Topics: `live/summary` (counts, retained) and
`live/step/{zone}` (one step of one walk); the fields are in the AsyncAPI file. The lines are for
looking at: they are unsigned, and a line that was missed does not come again.
"""

# ruff: noqa: INP001, T201  # an example is a script, and prints

import asyncio
import json
import ssl
import sys
from pathlib import Path

import aiomqtt

LONGEST_PAUSE_S = 30  # seconds between two tries; doubled from one second


def client(host: str, port: int, certificates: Path, name: str) -> aiomqtt.Client:
    """A client that shows our certificate; the broker takes the name in it for the client id."""
    tls = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    tls.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
    return aiomqtt.Client(
        host, port, identifier=name, tls_context=tls, protocol=aiomqtt.ProtocolVersion.V5
    )


async def print_lines(connection: aiomqtt.Client) -> None:
    """Prints what comes until the connection is lost."""
    async for message in connection.messages:
        print(message.topic, json.dumps(json.loads(bytes(message.payload))), flush=True)


async def watch(host: str, port: int, certificates: Path, name: str) -> None:
    """Prints lines for ever; connects again when the broker goes away."""
    pause_s = 1
    while True:
        try:
            # A new client for each connection: a used one sends its old messages again.
            async with client(host, port, certificates, name) as connection:
                await connection.subscribe("live/#", qos=0)
                pause_s = 1
                await print_lines(connection)
        except aiomqtt.MqttError as error:
            print(f"{error}; next try in {pause_s} s", file=sys.stderr, flush=True)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    asyncio.run(watch(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
