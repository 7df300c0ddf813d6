"""The providers: they capture, refund, are disputed with, and report it all too often.

Rules kept here: a report's bytes never change; it is posted one to five times and then again until
somebody answered 2xx, within the 24 hours a real provider keeps on; `payment.captured` and
`order.paid` are two reports of one payment. The book is the truth the ledger is held to.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.simulation.installation import DAY_MS
from tests.simulation.ledger_file import Cut, account_of
from tests.simulation.plan import ALL_METERS
from tests.simulation.schedule import Schedule
from tests.simulation.sources import SOURCES, Source

RETRY_MS = (2_000, 20_000, 120_000)
# Source, raw, signature, event id -> status, or no answer.
Post = Callable[[str, bytes, str, str], int | None]

STORIES = (
    *("whole", "whole", "whole", "parts", "hint", "wrong_hint", "short", "refunded"),
    *("paid_again", "failed", "nobody", "disputed", "dollars", "old", "part_back"),
)


@dataclass(slots=True, kw_only=True)
class Captured:
    """One payment in the provider's book."""

    payment_id: str
    source: str
    cut: Cut | None  # which episode it is for, by the ledger's own rules
    paise: int
    must_post: bool = True  # False: a person must look first
    returned_paise: int = 0


@dataclass(slots=True, kw_only=True)
class Report:
    """One webhook and how often it was answered."""

    source: Source
    raw: bytes
    event_id: str
    cut: Cut
    stored: int = 0
    tries: int = 0
    posts_left: int = 1


@dataclass(slots=True)
class Provider:
    """The book of all sources of payments, and their webhooks."""

    schedule: Schedule
    randomness: Random
    post: Post
    offset_ms: int = 0  # of the sources' clocks
    book: list[Captured] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    is_healed: bool = False
    disputes_decided: set[str] = field(default_factory=set)  # accounts
    coming: dict[int, int] = field(default_factory=dict)  # cut number -> acts still to come
    source_of: dict[int, Source] = field(default_factory=dict)  # by cut number
    _cut: Cut | None = None  # whose story is told now
    _numbers: int = 0

    def tell(self, cut: Cut) -> None:
        """Begin one story about a cut."""
        story = self.randomness.choice(STORIES)
        self.schedule.note("provider", "story", story, cut.account, cut.quote_paise)
        self._cut = cut
        self.source_of[cut.number] = source = self.randomness.choice(SOURCES)
        self.schedule.note("provider", "is", source.name)
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

    @property
    def clock_ms(self) -> int:
        """The sources' own time."""
        return self.schedule.now_ms + self.offset_ms

    @property
    def _source(self) -> Source:
        assert self._cut is not None
        return self.source_of.get(self._cut.number, SOURCES[0])

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

        def decide() -> None:
            self.disputes_decided.add(cut.account)
            tell("payment.dispute.won")

        self._later(lambda: tell("payment.dispute.created"))
        self._later(decide, least_ms=300_000)

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
            source=self._source.name,
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
        self._numbers += 1
        report = Report(
            source=self._source,
            raw=self._source.spell(event, entities, self.clock_ms - age_ms),
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
        status = self.post(report.source.name, report.raw, self.sign(report), report.event_id)
        if status == 200:
            report.stored += 1
        elif not report.posts_left and not report.stored:
            wait_ms = RETRY_MS[min(report.tries, len(RETRY_MS) - 1)]
            report.tries += 1
            self.schedule.after(wait_ms, lambda: self._send(report))

    def sign(self, report: Report) -> str:
        """The signature header of one delivery, made now."""
        return report.source.sign(report.raw, self.clock_ms)
