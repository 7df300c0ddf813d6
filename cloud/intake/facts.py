"""What a provider's report says, once it is read: payment facts, nothing of use, or no sense.

Rule kept here (R22): a fact has no field for a name, a phone, a mail, a virtual payment address or
a note; what is not here cannot leave the spool.
"""

from dataclasses import dataclass

from wire.fields import ProviderId
from wire.messages import PaymentItem
from wire.vocabulary import PaymentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing a provider says of one payment, within the limits of a payment item."""

    kind: PaymentKind
    object_id: str  # the provider's id of this fact: capture, refund, dispute
    payment_id: str  # what it is about
    account_hint: str | None
    order: str | None
    amount_paise: int
    currency: str
    happened_at_ms: int
    method: str

    def numbered(self, number: int, raw_sha256: bytes, received_at_ms: int) -> PaymentItem:
        """This fact as the item that is forwarded."""
        return PaymentItem(
            number=number,
            raw=raw_sha256,
            kind=self.kind,
            object_id=self.object_id,
            payment_id=self.payment_id,
            account_hint=self.account_hint,
            order=self.order,
            amount_paise=self.amount_paise,
            currency=self.currency,
            happened_at_ms=self.happened_at_ms,
            received_at_ms=received_at_ms,
            method=self.method,
        )


@dataclass(frozen=True, slots=True)
class Irrelevant:
    """A genuine report without a payment fact; it ends here, with its reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A genuine report that makes no sense to us: kept until a person has looked at it."""

    reason: str


Reading = tuple[Fact, ...] | Irrelevant | Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A genuine report, read, not yet stored."""

    provider: ProviderId
    event_id: str
    raw: bytes
    received_at_ms: int
    reading: Reading
