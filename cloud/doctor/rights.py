"""What each kind of identity may read and write of others: the table of docs/protocol.md.

Written from the page and not from the broker's access list, which it is held against.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mosquitto.configuration import Kind
from wire.fields import AgentId, IntakeId, MeterId, ProviderId
from wire.topics import (
    LIVE_SUMMARY,
    MessageType,
    canary_topic,
    command_topic,
    directed_topic,
    live_step_topic,
    payment_topic,
    presence_topic,
    receipt_topic,
    watermark_topic,
)

NOBODY = "DOCTOR-NOBODY"  # as agent, meter, intake, provider and zone: ids that nobody has
BROKER_FACTS = "$SYS/broker/version"

_AGENT = AgentId(NOBODY)
PAYMENT = payment_topic(0, ProviderId(NOBODY))
RECEIPT = receipt_topic(IntakeId(NOBODY))
WATERMARK = watermark_topic(IntakeId(NOBODY))
HELLO = f"{MessageType.HELLO}/00/{NOBODY}"
ACKNOWLEDGEMENT = f"{MessageType.ACKNOWLEDGEMENT}/00/{NOBODY}"
COMMAND = command_topic(_AGENT, MeterId(NOBODY))
PRESENCE = presence_topic(_AGENT)
LIVE = (LIVE_SUMMARY, live_step_topic(NOBODY))
WELCOME, FILED, MANIFEST, ROSTER, TRUST, STOP, RESUME = (
    directed_topic(one, _AGENT)
    for one in (
        MessageType.WELCOME,
        MessageType.FILED,
        MessageType.MANIFEST,
        MessageType.ROSTER,
        MessageType.TRUST,
        MessageType.STOP,
        MessageType.RESUME,
    )
)
TRUST_ALL, STOP_ALL, RESUME_ALL = (
    str(one) for one in (MessageType.TRUST, MessageType.STOP, MessageType.RESUME)
)
DIRECTED = (
    *(PAYMENT, RECEIPT, WATERMARK, HELLO, ACKNOWLEDGEMENT, COMMAND, PRESENCE),
    *(WELCOME, FILED, MANIFEST, ROSTER, TRUST, STOP, RESUME),
    *(LIVE[1], canary_topic(NOBODY)),
)
TOPICS = (*DIRECTED, TRUST_ALL, STOP_ALL, RESUME_ALL, LIVE_SUMMARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Topics of others, and of everybody, that a kind may read and write."""

    reads: frozenset[str]
    writes: frozenset[str]


def _rights(reads: tuple[str, ...], writes: tuple[str, ...] = ()) -> Rights:
    return Rights(reads=frozenset(reads), writes=frozenset(writes))


RIGHTS: Mapping[Kind, Rights] = {
    Kind.AGENT: _rights((TRUST_ALL, STOP_ALL, RESUME_ALL)),
    Kind.ENGINE: _rights(
        (
            *(PAYMENT, WATERMARK, HELLO, ACKNOWLEDGEMENT, COMMAND, PRESENCE),
            *(TRUST_ALL, STOP_ALL, RESUME_ALL),
        ),
        (
            *(RECEIPT, WELCOME, COMMAND, FILED, MANIFEST, ROSTER, TRUST, STOP, RESUME, *LIVE),
            *(TRUST_ALL, STOP_ALL, RESUME_ALL),
        ),
    ),
    Kind.GUARD: _rights((PAYMENT, WATERMARK, STOP_ALL, RESUME_ALL, TRUST_ALL), (STOP_ALL,)),
    Kind.INTAKE: _rights((TRUST_ALL,)),
    # mosquitto has no deny of one direction: a desk that may write stop hears it too.
    Kind.DESK: _rights((PRESENCE, TRUST_ALL, STOP_ALL), (STOP_ALL,)),
    Kind.DASHBOARD: _rights(LIVE),
    Kind.DOCTOR: _rights((*TOPICS, BROKER_FACTS)),
}
