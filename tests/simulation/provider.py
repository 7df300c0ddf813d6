"""A payment provider: it captures, refunds, is disputed with, and reports it all too often.

Rules kept here: a report's bytes never change; it is posted one to five times and then again until
somebody answered 2xx, within the 24 hours a real provider keeps on; `payment.captured` and
`order.paid` are two reports of one payment. The provider's book is the truth the ledger is held to.
"""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.simulation.installation import DAY_MS, WEBHOOK_SECRET
from tests.simulation.ledger_file import Cut, account_of
from tests.simulation.plan import ALL_METERS
from tests.simulation.schedule import Schedule

RETRY_MS = (2_000, 20_000, 120_000)
Post = Callable[[bytes, str, str], int | None]  # raw, signature, event id -> status, or no answer

STORIES = (
    *("whole", "whole", "whole", "parts", "hint", "wrong_hint", "short", "refunded"),
    *("paid_again", "failed", "nobody", "disputed", "dollars", "old", "part_back"),
)


@dataclass(slots=True, kw_only=True)
class Captured:
    """One payment in the provider's book."""

    payment_id: str
    cut: Cut | None  # which episode it is for, by the ledger's own rules
    paise: int
    must_post: bool = True  # False: a person must look first
    returned_paise: int = 0


@dataclass(slots=True, kw_only=True)
class Report:
    """One webhook and how often it was answered."""

    raw: bytes
    event_id: str
    cut: Cut
    stored: int = 0
    tries: int = 0
    posts_left: int = 1


@dataclass(slots=True)
class Provider:
    """The provider's book and its webhooks."""

    schedule: Schedule
    randomness: Random
    post: Post
    book: list[Captured] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    is_healed: bool = False
    coming: dict[int, int] = field(default_factory=dict)  # cut number -> acts still to come
    _cut: Cut | None = None  # whose story is told now
    _numbers: int = 0

    def tell(self, cut: Cut) -> None:
        """Begin one story about a cut."""
        story = self.randomness.choice(STORIES)
        self.schedule.note("provider", "story", story, cut.account, cut.quote_paise)
        self._cut = cut
        getattr(self, f"_{story}")(cut)

    def is_over(self, cut: Cut) -> bool:
        """Whether a cut's story was told to its end and every report of it stored."""
        told = [one for one in self.reports if one.cut is cut]
        return (
            bool(told)
            and not self.coming.get(cut.number)
            and all(one.stored and not one.posts_left for one in told)
        )

    @property
    def is_quiet(self) -> bool:
        """Whether every report was stored and no repeat is to come."""
        return not any(self.coming.values()) and all(
            one.stored and not one.posts_left for one in self.reports
        )

    # Stories

    def _whole(self, cut: Cut) -> None:
        self._capture(cut, cut.quote_paise - self.randomness.choice((0, 0, 100, -5_000)))

    def _parts(self, cut: Cut) -> None:
        first = cut.quote_paise // 3
        self._capture(cut, first)
        self._later(lambda: self._capture(cut, cut.quote_paise - first))

    def _hint(self, cut: Cut) -> None:
        self._capture(cut, cut.quote_paise, order=None, hint=f" {cut.account.lower()} ")

    def _wrong_hint(self, cut: Cut) -> None:
        others = [account_of(meter) for meter in ALL_METERS if meter != cut.meter]
        self._capture(cut, cut.quote_paise, hint=self.randomness.choice(others))

    def _short(self, cut: Cut) -> None:
        self._capture(cut, cut.quote_paise - 101)

    def _refunded(self, cut: Cut) -> None:
        paid = self._capture(cut, cut.quote_paise)
        self._later(lambda: self._refund(paid, cut.quote_paise))

    def _part_back(self, cut: Cut) -> None:
        paid = self._capture(cut, cut.quote_paise + 90)
        self._later(lambda: self._refund(paid, 50))
        self._later(lambda: self._refund(paid, 60))

    def _paid_again(self, cut: Cut) -> None:
        paid = self._capture(cut, cut.quote_paise)
        self._later(lambda: self._refund(paid, cut.quote_paise))
        self._later(lambda: self._capture(cut, cut.quote_paise))

    def _failed(self, cut: Cut) -> None:
        payment = self._payment(cut.quote_paise, cut.order, cut.account)
        payment |= {"status": "failed", "captured": False}
        self._report("payment.failed", {"payment": payment})
        promise = self._payment(cut.quote_paise, cut.order, cut.account)
        promise |= {"status": "authorized", "captured": False}
        self._report("payment.authorized", {"payment": promise})
        self._report("payment.captured", {"payment": promise})

    def _nobody(self, cut: Cut) -> None:
        self._capture(cut, cut.quote_paise, order=None, hint="NO-SUCH-ACCOUNT")

    def _dollars(self, cut: Cut) -> None:
        self._capture(cut, cut.quote_paise, currency="USD")

    def _old(self, cut: Cut) -> None:
        self._capture(cut, cut.quote_paise, age_ms=2 * DAY_MS)

    def _disputed(self, cut: Cut) -> None:
        paid = self._capture(cut, cut.quote_paise)
        dispute = f"disp_{paid.payment_id[4:]}"

        def tell(event: str) -> None:
            entity = {"id": dispute, "payment_id": paid.payment_id}
            entity |= {"amount": paid.paise, "currency": "INR"}
            self._report(event, {"dispute": entity})

        self._later(lambda: tell("payment.dispute.created"))
        self._later(lambda: tell("payment.dispute.won"), least_ms=300_000)

    # Money

    def _capture(
        self,
        cut: Cut,
        paise: int,
        *,
        order: str | None = "",
        hint: str | None = None,
        currency: str = "INR",
        age_ms: int = 0,
    ) -> Captured:
        order = cut.order if order == "" else order
        payment = self._payment(paise, order, hint) | {"currency": currency}
        is_known = order is not None or (hint or "").strip().upper() == cut.account
        captured = Captured(
            payment_id=payment["id"],
            cut=cut if is_known else None,
            paise=paise,
            must_post=currency == "INR" and age_ms == 0,
        )
        self.book.append(captured)
        self._report("payment.captured", {"payment": payment}, age_ms)
        if order is not None and self.randomness.random() < 0.7:
            self._report("order.paid", {"payment": payment, "order": {"id": order}}, age_ms)
        return captured

    def _refund(self, paid: Captured, paise: int) -> None:
        paid.returned_paise += paise
        self._numbers += 1
        refund = {"id": f"rfnd_{self._numbers}", "payment_id": paid.payment_id}
        refund |= {"amount": paise, "currency": "INR", "status": "processed"}
        self._report("refund.processed", {"refund": refund})
        if self.randomness.random() < 0.4:
            self._report("refund.created", {"refund": refund})

    def _payment(self, paise: int, order: str | None, hint: str | None) -> dict:
        self._numbers += 1
        return {
            "id": f"pay_{self._numbers}",
            "entity": "payment",
            "amount": paise,
            "currency": "INR",
            "status": "captured",
            "captured": True,
            "amount_refunded": 0,
            "order_id": order,
            "method": "upi",
            "notes": [] if hint is None else {"consumer_no": hint},
        }

    def _later(self, act: Callable[[], object], least_ms: int = 0) -> None:
        cut = self._cut
        assert cut is not None
        self.coming[cut.number] = self.coming.get(cut.number, 0) + 1

        def happen() -> None:
            self.coming[cut.number] -= 1
            self._cut = cut
            act()

        self.schedule.after(least_ms + int(600_000 * self.randomness.random() ** 2), happen)

    # Webhooks

    def _report(self, event: str, entities: dict, age_ms: int = 0) -> None:
        payload = {name: {"entity": entity} for name, entity in entities.items()}
        told = {
            "entity": "event",
            "account_id": "acc_Simulated",
            "event": event,
            "payload": payload,
            "created_at": (self.schedule.now_ms - age_ms) // 1_000,
        }
        raw = json.dumps(told, separators=(",", ":")).encode()
        self._numbers += 1
        report = Report(
            raw=raw,
            event_id=f"evt_{self._numbers}",
            cut=self._cut,
            posts_left=self.randomness.randint(1, 5),
        )
        self.reports.append(report)
        for _ in range(report.posts_left):
            wait_ms = int(self.randomness.choice((500, 20_000, 900_000)) * self.randomness.random())
            self.schedule.after(wait_ms, lambda: self._planned(report))

    def _planned(self, report: Report) -> None:
        report.posts_left -= 1
        self._send(report)

    def _send(self, report: Report) -> None:
        status = self.post(report.raw, sign(report.raw), report.event_id)
        if status == 200:
            report.stored += 1
        elif not report.posts_left and not report.stored:
            wait_ms = RETRY_MS[min(report.tries, len(RETRY_MS) - 1)]
            report.tries += 1
            self.schedule.after(wait_ms, lambda: self._send(report))


def sign(raw: bytes) -> str:
    """The signature header of a genuine webhook."""
    return hmac.digest(WEBHOOK_SECRET.encode(), raw, "sha256").hex()
