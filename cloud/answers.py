"""What the engine says back, signed: receipts to intakes, `filed` to agents.

Rules kept here: an answer is made of what is committed already; `filed` tells an agent the newest
that is filed, so one message stands for all before it, and while more waits an agent hears one in
50 ms (R8).
"""

from collections.abc import Iterable, Mapping, Sequence

from cloud.acknowledgements import JournalProgress
from cloud.publisher import Outgoing, Signer
from wire import envelope
from wire.decoding import encode
from wire.fields import AgentId, IntakeId, JournalId, SpoolId
from wire.messages import RECEIPT_ITEMS_MAX, Filed, Receipt, ReceiptItem
from wire.topics import MessageType, directed_topic, receipt_topic

FILED_EVERY_MS = 50  # `filed` per agent, unless nothing else waits


class Answers:
    """One engine's answers; it remembers to whom a `filed` is still owed."""

    def __init__(self, signer: Signer, generation_ms: int) -> None:
        self._signer = signer
        self._generation_ms = generation_ms
        self._filed_due: dict[str, JournalProgress] = {}
        self._filed_sent_at_ms: dict[str, int] = {}

    @property
    def are_owed(self) -> bool:
        """Whether an agent waits for its `filed`."""
        return bool(self._filed_due)

    def owe_filed(self, progressed: Iterable[JournalProgress]) -> None:
        """Journals went on. Only after the commit: else an agent would forget too much."""
        self._filed_due.update({progress.agent_id: progress for progress in progressed})

    def receipts(
        self, receipts: Mapping[tuple[str, bytes], Sequence[ReceiptItem]]
    ) -> list[Outgoing]:
        """Receipts for what is stored, by intake and spool."""
        return [
            self.receipt(intake, spool, items[start : start + RECEIPT_ITEMS_MAX])
            for (intake, spool), items in receipts.items()
            for start in range(0, len(items), RECEIPT_ITEMS_MAX)
        ]

    def receipt(self, intake: str, spool: bytes, items: Sequence[ReceiptItem]) -> Outgoing:
        """One receipt; without items it only names this ledger's generation."""
        body = encode(
            Receipt(
                intake=IntakeId(intake),
                spool=SpoolId(spool),
                generation_ms=self._generation_ms,
                items=tuple(items),
            )
        )
        return self._sealed(receipt_topic(IntakeId(intake)), MessageType.RECEIPT, body)

    def filed(self, now_ms: int, *, is_busy: bool) -> list[Outgoing]:
        """R8: what is filed now; while more waits, one message per agent in 50 ms."""
        outgoing = []
        for agent_id, progress in list(self._filed_due.items()):
            if is_busy and now_ms - self._filed_sent_at_ms.get(agent_id, 0) < FILED_EVERY_MS:
                continue
            del self._filed_due[agent_id]
            self._filed_sent_at_ms[agent_id] = now_ms
            agent = AgentId(agent_id)
            body = encode(
                Filed(
                    agent=agent,
                    journal=JournalId(progress.journal),
                    generation_ms=self._generation_ms,
                    through=progress.through,
                    head=progress.head,
                )
            )
            topic = directed_topic(MessageType.FILED, agent)
            outgoing.append(self._sealed(topic, MessageType.FILED, body))
        return outgoing

    def _sealed(self, topic: str, message_type: MessageType, body: bytes) -> Outgoing:
        signer = self._signer
        payload = envelope.seal(signer.installation, message_type.value, body, [signer.key])
        return Outgoing(topic=topic, payload=payload)
