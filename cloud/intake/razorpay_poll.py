"""Razorpay's lists of payments and refunds, as reports that the spool does not hold yet.

Rules kept here:
 * A list is paged; each page begins with the last entity of the page before. Is it not there, the
   list shifted under us and the slice is fetched anew.
 * What the spool holds as the same fact is left out before anything more is asked for: when nothing
   was missed, a look costs two requests and no write.
 * Refunds stand before the payments they belong to, each with its payment beside it as in a
   webhook: the engine compares the account hint, which only the payment has.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlencode

from cloud.intake.facts import Irrelevant, Reading, Report
from cloud.intake.fetching import Fetch, FetchError
from cloud.intake.poll_plan import Slice
from cloud.intake.razorpay import NEEDS_PERSON, PAYMENT_ID, PROVIDER
from cloud.intake.razorpay_fetched import (
    Listed,
    payment_report,
    read_entity,
    read_fetched,
    read_list,
    refund_report,
)
from cloud.intake.spool import KNOWN_MAX
from cloud.intake.strict_json import ShapeError
from wire.fields import ProviderId
from wire.vocabulary import PaymentKind

PAGE_ENTITIES = 100  # the most the provider gives at once
PAGES_MAX = 200  # of one slice: 16 payments a second for 20 minutes, twice the peak expected
# Refunds of never-captured money seen so far, so that each is asked about once; 40 days' worth.
SETTLED_MAX = 10_000


class Known(Protocol):
    """What the spool holds already."""

    def known_facts(
        self, provider: ProviderId, kind: PaymentKind, object_ids: Sequence[str]
    ) -> set[str]:
        """Those of `object_ids` of which an item says that kind."""

    def known_reports(self, provider: ProviderId, digests: Sequence[bytes]) -> set[bytes]:
        """Those of `digests` whose bytes are stored."""


class RazorpayLists:
    """What a slice of Razorpay's lists holds that the spool does not (`cloud.intake.polling`)."""

    def __init__(self, fetch: Fetch, known: Known, clock_ms: Callable[[], int]) -> None:
        self.provider = PROVIDER
        self.needs_person = NEEDS_PERSON
        self._fetch = fetch
        self._known = known
        self._clock_ms = clock_ms
        self._settled: dict[str, None] = {}

    async def new_reports(self, part: Slice) -> list[Report]:
        """The reports to store, in the order in which they are to be stored.

        Raises:
            FetchError: the slice could not be fetched as a whole.
        """
        # Whether the ends are in or out is not documented: a second more on both sides.
        span = {"from": part.from_ms // 1_000 - 1, "to": part.until_ms // 1_000 + 1}
        payments = await self._list("/v1/payments", span)
        refunds = await self._list("/v1/refunds", span)
        captured = await self._unknown(PaymentKind.CAPTURED, filter(_is_captured, payments))
        for payment in captured:
            if payment.is_refunded and PAYMENT_ID.fullmatch(payment.entity_id):
                refunds += await self._list(f"/v1/payments/{payment.entity_id}/refunds", {})
        returned = await self._unknown(PaymentKind.REFUNDED, _once(refunds))
        beside = {payment.entity_id: payment for payment in payments}
        found = [await self._refund(refund, beside) for refund in returned]
        found += [self._report(one.entity_id, payment_report(one)) for one in captured]
        return await self._unstored([one for one in found if self._is_wanted(one.reading)])

    async def _refund(self, refund: Listed, beside: dict[str, Listed]) -> Report:
        payment: Listed | None = None
        if not refund.has_failed and PAYMENT_ID.fullmatch(refund.payment_id):
            payment = beside.get(refund.payment_id)
            if payment is None:
                payment = await self._entity(f"/v1/payments/{refund.payment_id}")
                beside[refund.payment_id] = payment
        report = self._report(refund.entity_id, refund_report(refund, payment))
        if payment is not None and not self._is_wanted(report.reading):
            self._settled[refund.entity_id] = None
            if len(self._settled) > SETTLED_MAX:
                del self._settled[next(iter(self._settled))]
        return report

    def _report(self, entity_id: str, raw: bytes) -> Report:
        now_ms = self._clock_ms()
        return Report(
            provider=PROVIDER,
            event_id=entity_id[:64],
            raw=raw,
            received_at_ms=now_ms,
            reading=read_fetched(raw, now_ms),
        )

    def _is_wanted(self, reading: Reading) -> bool:
        """Whether a report is kept: what is not final yet, or never was ours, says nothing."""
        return not isinstance(reading, Irrelevant) or reading.reason in NEEDS_PERSON

    async def _unknown(self, kind: PaymentKind, entities: Iterable[Listed]) -> list[Listed]:
        """Those of `entities` that no item of the spool says yet."""
        wanted = [one for one in entities if one.entity_id not in self._settled]
        unknown = []
        for start in range(0, len(wanted), KNOWN_MAX):
            some = wanted[start : start + KNOWN_MAX]
            known = self._known.known_facts(PROVIDER, kind, [one.entity_id for one in some])
            unknown += [one for one in some if one.entity_id not in known]
            await asyncio.sleep(0)  # webhooks go first
        return unknown

    async def _unstored(self, reports: list[Report]) -> list[Report]:
        """Those whose very bytes are not there: what a person must look at comes once."""
        unstored = []
        for start in range(0, len(reports), KNOWN_MAX):
            some = {sha256(one.raw).digest(): one for one in reports[start : start + KNOWN_MAX]}
            known = self._known.known_reports(PROVIDER, list(some))
            unstored += [one for digest, one in some.items() if digest not in known]
            await asyncio.sleep(0)
        return unstored

    async def _list(self, path: str, span: dict[str, int]) -> list[Listed]:
        """Every entity of a list, each once, as last seen."""
        found: dict[str, Listed] = {}
        last = ""
        for page_number in range(PAGES_MAX):
            page = {"count": PAGE_ENTITIES, "skip": page_number * (PAGE_ENTITIES - 1)}
            target = f"{path}?{urlencode({**span, **page})}"
            try:
                entities = read_list(await self._fetch.get(target))
            except ShapeError as error:
                raise FetchError(f"GET {path}: {error}") from None
            keyed = {one.entity_id or one.text.decode(): one for one in entities}
            if last and last not in keyed:
                raise FetchError(f"GET {path}: the list shifted while it was read")
            found |= keyed
            if len(entities) < PAGE_ENTITIES:
                return list(found.values())
            last = next(reversed(keyed))
        raise FetchError(f"GET {path}: more than {PAGES_MAX} pages in one slice")

    async def _entity(self, path: str) -> Listed:
        try:
            return read_entity(await self._fetch.get(path))
        except ShapeError as error:
            raise FetchError(f"GET {path}: {error}") from None


def _is_captured(payment: Listed) -> bool:
    return payment.is_captured


def _once(refunds: Iterable[Listed]) -> Iterable[Listed]:
    """Each refund once: the list of refunds and a payment's own list may both hold it."""
    return {one.entity_id or one.text.decode(): one for one in refunds}.values()
