"""The demo: one consumer is cut, pays, and the light comes back; then two attackers fail.

Everything told here was measured while it happened: real broker with TLS, real processes, a webhook
over HTTP signed as Razorpay signs. The demo succeeds only if every sentence it prints was true.
"""

import asyncio
import contextlib
import hmac
import http.client
import json
import random
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from sqlalchemy import func, select

from cloud.audit.auditing import audit
from cloud.cli.audit import in_words, places_of
from cloud.cli.demo_world import (
    AGENTS,
    DARK_ACCOUNT,
    DARK_METER,
    METERS_PER_AGENT,
    ORDER,
    WITNESS,
    DemoError,
    DemoWorld,
    demo_world,
)
from cloud.cli.doctor import subject_of
from cloud.cli.processes import clock_ms
from cloud.configuration import Installation
from cloud.doctor.examination import examine
from cloud.schema import episodes, filed_items, meters, quotes
from cloud.store import reading
from cloud.trace import Trace, trace
from wire.decoding import decode_body
from wire.envelope import unpack
from wire.link import Delivery, Link
from wire.messages import Acknowledgement

PAYMENT_ID = "pay_DEMO0001"
WAIT_MAX_MS = 30_000  # for anything the demo waits for
POLL_S = 0.002
LISTEN_S = 1.5  # how long an answer to junk is waited for before "no answer" is believed

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened, for the report."""

    steps: list[dict[str, object]] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)

    def report(self) -> str:
        """The report as JSON."""
        return json.dumps({"steps": self.steps, **self.facts}, indent=1)


class Witness:
    """Sits on the broker with the engine's broker rights, and no signing key: a broken broker."""

    def __init__(self, installation: Installation) -> None:
        settings = installation.link_settings(WITNESS, ("command/+/+", "acknowledgement/+/+"))
        self.link = Link(settings, randomness=random.Random())  # noqa: S311  # jitter only
        self.seen: list[Delivery] = []

    async def listen(self) -> None:
        """Write down everything that passes."""
        while True:
            deliveries = await self.link.receive(64)
            self.link.acknowledge(deliveries)
            self.seen += deliveries

    def commands(self, meter: str) -> list[Delivery]:
        """The recorded commands of one meter."""
        return [one for one in self.seen if one.topic.endswith(f"/{meter}")]

    def answers(self) -> list[bytes]:
        """Every acknowledged item, as its exact bytes."""
        return [
            bytes(item)
            for one in self.seen
            if one.topic.startswith("acknowledgement/")
            for item in decode_body(Acknowledgement, unpack(one.payload).body).items
        ]


def run_demo(say: Say, *, report: Path | None, stays: bool, folder: Path | None) -> None:
    """Run the whole demo.

    Raises:
        DemoError: something that must be true was not.
    """
    with contextlib.ExitStack() as stack:
        where = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relight-")))
        say("Starting a broker (TLS 1.3), intake, engine, two agents and forty meters ...")
        world = stack.enter_context(demo_world(where))
        story = asyncio.run(_tell(world, say))
        if report is not None:
            report.write_text(story.report() + "\n", encoding="utf-8")
        if stays:
            say(f"Still up: relight.toml is in {world.folder}. Ctrl-C ends it.")
            with contextlib.suppress(KeyboardInterrupt):
                world.processes["broker"].wait()


async def _tell(world: DemoWorld, say: Say) -> Story:
    installation = Installation(world.config)
    witness = Witness(installation)
    tasks = [asyncio.create_task(witness.link.run()), asyncio.create_task(witness.listen())]
    await asyncio.wait_for(witness.link.until_ready(), WAIT_MAX_MS / 1_000)
    ledger = world.ledger()
    story = Story()
    try:
        owed = _owed(ledger)
        say(
            f"\n{DARK_ACCOUNT} was cut for an unpaid bill."
            f" To pay, charges included: {rupees(owed)}."
            f"\nThe relay of {DARK_METER} is open;"
            f" {len(AGENTS) * METERS_PER_AGENT} meters are connected.\n"
        )
        await _pay(world, ledger, owed, story)
        _print_walk(story, say)
        say("\nA forged webhook, and a replayed command:")
        await _forge(world, installation, owed, story, say)
        await _replay(witness, ledger, story, say)
        await _examine(world, story, say)
        await _audit(world, story, say)
        waited_ms = story.facts["paid_to_acknowledged_ms"]
        say(f"\nThe consumer waited {waited_ms} ms from payment report to light, proven by reading"
            " the relay back.")  # fmt: skip
    finally:
        await witness.link.stop()
        for task in tasks:
            task.cancel()
        ledger.dispose()
    return story


async def _pay(world: DemoWorld, ledger: sqlalchemy.Engine, owed: int, story: Story) -> None:
    """Post the webhook, wait until the relay reads back closed and that is filed."""
    installation = Installation(world.config)
    secret = installation.secrets(installation.intake.razorpay.secrets)[0]
    sent_at_ms = clock_ms()
    status = await asyncio.to_thread(_post, world, webhook(owed, PAYMENT_ID, sent_at_ms), secret)
    answered_at_ms = clock_ms()
    if status != 200:
        raise DemoError(f"the webhook was answered {status}, not 200")
    await _until("closed relay", lambda: _is_ended(ledger))
    with reading(ledger):
        found = trace(ledger, PAYMENT_ID)
    if found is None:
        raise DemoError(f"no trace of {PAYMENT_ID}")
    _note_steps(story, found, sent_at_ms, answered_at_ms)


def _note_steps(story: Story, found: Trace, sent_at_ms: int, answered_at_ms: int) -> None:
    steps: list[tuple[int, str]] = [
        (sent_at_ms, "webhook sent by the provider"),
        (answered_at_ms, "answered 200: stored durably"),
        *((step.at_ms, step.text) for step in found.steps if step.at_ms >= sent_at_ms),
    ]
    # A stable sort: steps of one millisecond stay in the order of the walk.
    steps.sort(key=lambda step: step[0])
    story.steps = [{"name": name, "at_ms": at_ms} for at_ms, name in steps]
    story.facts["paid_to_acknowledged_ms"] = steps_end(story) - sent_at_ms


def steps_end(story: Story) -> int:
    """When the last step of the walk happened."""
    return max(int(str(step["at_ms"])) for step in story.steps)


def _print_walk(story: Story, say: Say) -> None:
    first = int(str(story.steps[0]["at_ms"]))
    for step in story.steps:
        say(f"  {int(str(step['at_ms'])) - first:>6} ms  {step['name']}")


async def _forge(
    world: DemoWorld, installation: Installation, owed: int, story: Story, say: Say
) -> None:
    wrong = secrets.token_hex(24)
    body = webhook(owed, "pay_FORGED01", clock_ms())
    status = await asyncio.to_thread(_post, world, body, wrong)
    if status != 401:
        raise DemoError(f"a forged webhook was answered {status}, not 401")
    secret = installation.secrets(installation.intake.razorpay.secrets)[0]
    altered = await asyncio.to_thread(_post, world, body, secret, alter=True)
    if altered != 401:
        raise DemoError(f"an altered webhook was answered {altered}, not 401")
    story.facts["forged_webhook_status"] = status
    say("  forged:    signed with another secret, then altered after signing: 401 and 401")


async def _replay(witness: Witness, ledger: sqlalchemy.Engine, story: Story, say: Say) -> None:
    """Publish the recorded command again, unchanged and with one bit changed."""
    (recorded, *_) = witness.commands(DARK_METER)
    before = _relay_facts(ledger)
    answers = witness.answers()
    (stored,) = set(answers)
    await witness.link.publish(recorded.topic, recorded.payload)
    await _until("answer to the replay", lambda: len(witness.answers()) > len(answers))
    if set(witness.answers()) != {stored}:
        raise DemoError("the replayed command got another answer than the stored one")
    heard = len(witness.answers())
    changed = bytearray(recorded.payload)
    changed[len(changed) // 2] ^= 1
    await witness.link.publish(recorded.topic, bytes(changed))
    await asyncio.sleep(LISTEN_S)
    if len(witness.answers()) != heard:
        raise DemoError("a command with one bit changed was answered")
    if _relay_facts(ledger) != before:
        raise DemoError("a replayed command changed what is filed of the relay")
    story.facts["replayed_command"] = "stored answer repeated, relay not moved"
    say("  replayed:  the same bytes get the stored answer again, the relay is not moved")
    say("  altered:   one bit changed in the same command: no answer, nothing stored")


async def _examine(world: DemoWorld, story: Story, say: Say) -> None:
    """Have the doctor try what must fail, on this broker, these keys and this ledger."""
    report = await examine(subject_of(world.config))
    story.facts["doctor"] = report.summary()
    say(f"\nDoctor: {report.summary()}")
    for one in report.examined:
        for line in (line for line in one.lines() if not line.startswith("good")):
            say(f"  {line}")
    if report.findings:
        raise DemoError(f"the doctor found what is wrong: {len(report.findings)} findings")


async def _audit(world: DemoWorld, story: Story, say: Say) -> None:
    """Have the auditor look at everything that was stored, by its own code."""
    journals = sorted(world.config.parent.glob("agents/*/journal.db"))
    places = places_of(Installation(world.config), journals)
    report = await asyncio.to_thread(audit, places, is_at_rest=True)
    story.facts["audit"] = in_words(report)
    say(f"\n{in_words(report).capitalize()}")
    if report.findings:
        raise DemoError(f"the auditor found what cannot be true: {len(report.findings)} findings")


async def _until(what: str, is_there: Callable[[], bool]) -> None:
    for _ in range(int(WAIT_MAX_MS / 1_000 / POLL_S)):
        if is_there():
            return
        await asyncio.sleep(POLL_S)
    raise DemoError(f"no {what} within {WAIT_MAX_MS} ms")


def webhook(amount_paise: int, payment_id: str, at_ms: int) -> bytes:
    """A `payment.captured` webhook as Razorpay documents it."""
    at_s = at_ms // 1_000
    entity = {
        "id": payment_id, "entity": "payment", "amount": amount_paise, "currency": "INR",
        "status": "captured", "order_id": ORDER, "method": "upi", "captured": True,
        "amount_refunded": 0, "refund_status": None, "vpa": "someone@upi",
        "notes": {"consumer_no": DARK_ACCOUNT}, "created_at": at_s,
    }  # fmt: skip
    body = {
        "entity": "event", "account_id": "acc_DEMO", "event": "payment.captured",
        "contains": ["payment"], "payload": {"payment": {"entity": entity}}, "created_at": at_s,
    }  # fmt: skip
    return json.dumps(body, separators=(",", ":")).encode("utf-8")


def _post(world: DemoWorld, body: bytes, secret: str, *, alter: bool = False) -> int:
    signature = hmac.digest(secret.encode("utf-8"), body, "sha256").hex()
    headers = {
        "Content-Type": "application/json",
        "X-Razorpay-Signature": signature,
        "X-Razorpay-Event-Id": f"evt_{secrets.token_hex(7)}",
    }
    sent = body.replace(b'"currency":"INR"', b'"currency":"USD"') if alter else body
    connection = http.client.HTTPConnection("127.0.0.1", world.intake_port, timeout=10)
    try:
        connection.request("POST", "/webhooks/razorpay", sent, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _owed(ledger: sqlalchemy.Engine) -> int:
    with reading(ledger) as connection:
        return int(connection.scalar(select(func.sum(quotes.c.amount_paise))) or 0)


def _is_ended(ledger: sqlalchemy.Engine) -> bool:
    with reading(ledger) as connection:
        ended = (
            select(func.count()).select_from(episodes).where(episodes.c.ended_at_ms.is_not(None))
        )
        return bool(connection.scalar(ended))


def _relay_facts(ledger: sqlalchemy.Engine) -> tuple[object, ...]:
    """What is filed of the relay: the number of items, and the view's place among them."""
    with reading(ledger) as connection:
        view = connection.execute(
            select(meters.c.output, meters.c.view_number, meters.c.read_at_ms).where(
                meters.c.meter_id == DARK_METER
            )
        ).one()
        items = connection.scalar(select(func.count()).select_from(filed_items))
    return (*view, items)


def rupees(paise: int) -> str:
    """`Rs. 1,23,456.00`: lakh grouping."""
    whole, rest = divmod(paise, 100)
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    groups: list[str] = []
    while head:
        head, group = head[:-2], head[-2:]
        groups.insert(0, group)
    return f"Rs. {','.join([*groups, tail])}.{rest:02d}"
