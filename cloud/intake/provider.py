"""What the door must know of a provider: who it is, is a webhook genuine, what does it say.

Rule kept here: the door asks every provider the same questions and knows none by name; a further
provider is a further class with these answers.
"""

from enum import StrEnum
from typing import Protocol

from cloud.intake.facts import Reading
from wire.fields import ProviderId


class SettingsError(ValueError):
    """The intake cannot work with these settings; the text says what to change."""


class Signature(StrEnum):
    """What a webhook's signature is worth."""

    GENUINE = "genuine"
    MISSING = "missing"
    WRONG = "wrong"
    STALE = "stale"  # made by the right secret, too long ago or ahead: a recording, or a clock


class Provider(Protocol):
    """One configured source of reports."""

    @property
    def name(self) -> ProviderId:
        """Its id in topics, scopes and the ledger; its webhooks' path has it too."""

    @property
    def signature_header(self) -> bytes:
        """The header with the signature, in lower case."""

    @property
    def event_id_header(self) -> bytes:
        """The header with an id for people, in lower case; empty when there is none."""

    @property
    def needs_person(self) -> frozenset[str]:
        """Reasons of irrelevant reports that a person must hear of all the same."""

    def judge(self, raw: bytes, signature: str, now_ms: int, /) -> Signature:
        """Whether `raw` comes from the provider; nothing is parsed for it."""

    def read_report(self, raw: bytes) -> Reading:
        """What a genuine report says; never raises."""
