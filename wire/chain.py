"""The dense, chained numbers of an agent's journal.

head(0) = SHA-256("RELIGHT1 journal" + journal id + agent); head(n) = SHA-256(head(n-1) +
SHA-256(item n)). Agent and engine compute it separately; where they differ, history was forked:
a cloned or rolled-back concentrator, or a changed journal.
"""

from hashlib import sha256

from wire.fields import AgentId, JournalId


def first_head(journal: JournalId, agent: AgentId) -> bytes:
    """The head of an empty journal, 32 bytes."""
    return sha256(b"RELIGHT1 journal" + journal + agent.encode("ascii")).digest()


def next_head(head: bytes, item: bytes) -> bytes:
    """The head behind one more item, given its exact bytes."""
    return sha256(head + sha256(item).digest()).digest()
