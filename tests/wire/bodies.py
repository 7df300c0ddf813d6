"""One example body of every message type, every action and every item kind.

They tell one small story at NOW: the meter was open, its consumer paid, a close went out and was
acknowledged; beside it stand the rarer messages.
"""

import msgspec

from tests.wire.installation import (
    AGENT,
    DAY_MS,
    EPOCH,
    EVIDENCE,
    GENERATION_MS,
    INSTALLATION,
    INTAKE,
    JOURNAL,
    METER,
    MINUTE_MS,
    NONCE,
    NOW_MS,
    OTHER_METER,
    PROVIDER,
    REGISTRY,
    ROOT_1,
    ROOT_2,
    SPOOL,
    TRUST,
    WEBHOOK_PROVIDER,
    identity,
    made_up,
)
from wire.chain import first_head, next_head
from wire.decoding import encode
from wire.documents import Manifest, Resume, Roster, RosterEntry, Stop
from wire.envelope import digest
from wire.fields import Array, CommandId
from wire.messages import (
    Acknowledgement,
    AlarmItem,
    Command,
    CommandItem,
    Counter,
    Filed,
    Hello,
    Item,
    ManifestItem,
    Payment,
    PaymentItem,
    ProviderMark,
    Receipt,
    ReceiptItem,
    ReceivedItem,
    RelayReading,
    StateItem,
    Watermark,
    Welcome,
)
from wire.vocabulary import (
    Action,
    JournalVerdict,
    ManifestVerdict,
    Outcome,
    PaymentKind,
    ReceiptVerdict,
    StateCause,
)

SECOND_MS = 1_000
LIFE_MS = {True: 5 * MINUTE_MS, False: 15 * MINUTE_MS}  # is an open -> life


def command(action: str = Action.CLOSE, **fields: object) -> Command:
    """A command issued at NOW for METER, changed by `fields`."""
    whole: dict[str, object] = {
        "agent": AGENT,
        "meter": METER,
        "epoch": EPOCH,
        "sequence_ms": NOW_MS,
        "expires_at_ms": NOW_MS + LIFE_MS[action in ("open", "disarm", "unguarded")],
        "evidence": EVIDENCE,
        "manifest": None,
        **fields,
    }
    return Command(action=action, **whole)  # type: ignore[arg-type]


def message_id(type_name: str, body: Array) -> bytes:
    """The first 16 bytes of a message's digest: a command's or a manifest's id."""
    return digest(INSTALLATION, type_name, encode(body))[:16]


def payment_item(number: int = 4_711, payment: str = "pay_OyT1q3ZsVbXk2H", **fields: object):
    whole: dict[str, object] = {
        "raw": made_up(f"raw report {number}", 32),
        "kind": PaymentKind.CAPTURED,
        "object_id": payment,
        "payment_id": payment,
        "account_hint": "N3301004567",
        "order": "order_OyT1hPqV0uJ8aB",
        "amount_paise": 184_250,
        "currency": "INR",
        "happened_at_ms": NOW_MS - 2_400,
        "received_at_ms": NOW_MS - 310,
        "method": "upi",
        **fields,
    }
    return PaymentItem(number=number, payment_id=whole.pop("payment_id"), **whole)


def payment(*items: PaymentItem, **fields: object) -> Payment:
    whole = {"intake": INTAKE, "spool": SPOOL, "provider": PROVIDER, **fields}
    return Payment(items=items or (payment_item(),), **whole)  # type: ignore[arg-type]


RECEIPT = Receipt(
    intake=INTAKE,
    spool=SPOOL,
    generation_ms=GENERATION_MS,
    items=(
        ReceiptItem(number=4_711, raw16=payment_item().raw[:16], verdict=ReceiptVerdict.STORED),
    ),
)
WATERMARK = Watermark(
    intake=INTAKE,
    spool=SPOOL,
    generation_ms=GENERATION_MS,
    made=4_711,
    oldest_open=0,
    at_ms=NOW_MS,
    providers=(
        ProviderMark(provider=PROVIDER, complete_to_ms=NOW_MS - 40_000),
        ProviderMark(provider=WEBHOOK_PROVIDER, complete_to_ms=NOW_MS - 3_600_000),
    ),
)

CLOSE = command(Action.CLOSE)
CLOSE_ID = CommandId(message_id("command", CLOSE))
OPEN_RELAY = RelayReading(output=False, control_state=0, control_mode=4)
CLOSED_RELAY = RelayReading(output=True, control_state=1, control_mode=4)
COMMAND_ITEM = CommandItem(
    number=1,
    command=CLOSE_ID,
    meter=METER,
    epoch=EPOCH,
    sequence_ms=NOW_MS,
    outcome=Outcome.CLOSED,
    reason=None,
    before=OPEN_RELAY,
    after=CLOSED_RELAY,
    received_at_ms=NOW_MS + 12,
    acted_at_ms=NOW_MS + 240,
    read_at_ms=NOW_MS + 1_930,
    highest=None,
)
REFUSED_ID = CommandId(made_up("a refused command", 16))
REFUSED_ITEM = CommandItem(
    number=2,
    command=REFUSED_ID,
    meter=METER,
    epoch=EPOCH,
    sequence_ms=NOW_MS - DAY_MS,
    outcome=Outcome.REFUSED,
    reason="low_counter",
    before=None,
    after=None,
    received_at_ms=NOW_MS + 2_000,
    acted_at_ms=None,
    read_at_ms=None,
    highest=Counter(epoch=EPOCH, sequence_ms=NOW_MS),
)
METERS = (METER, OTHER_METER)
MANIFEST = Manifest(
    batch=made_up("batch", 16),
    agent=AGENT,
    requester="M. Rao",
    total=40,
    batch_digest=made_up("all forty meters", 32),
    reason="arrears over Rs 5,000, list 2026-38",
    expires_at_ms=NOW_MS + 3_600_000,
    meters=METERS,
)
MANIFEST_ID = message_id("manifest", MANIFEST)
ITEMS: dict[str, Item] = {
    "item-command": COMMAND_ITEM,
    "item-command-refused": REFUSED_ITEM,
    "item-received": ReceivedItem(
        number=3, command=CommandId(made_up("a waiting command", 16)), meter=OTHER_METER
    ),
    "item-state": StateItem(
        number=4,
        meter=METER,
        cause=StateCause.MOVED,
        relay=CLOSED_RELAY,
        read_at_ms=NOW_MS + 60_000,
        invocation=None,
    ),
    "item-manifest": ManifestItem(
        number=5,
        manifest=MANIFEST_ID,
        verdict=ManifestVerdict.HELD,
        reason=None,
        running_ms=86_400_123,
    ),
    "item-alarm": AlarmItem(number=6, code="clock_disputed", meter=None, at_ms=NOW_MS + 61_000),
}
HEADS = [first_head(JOURNAL, AGENT)]
for _item in ITEMS.values():
    HEADS.append(next_head(HEADS[-1], encode(_item)))


def acknowledgement(first: int = 1, last: int = 6, **fields: object) -> Acknowledgement:
    """Items first..last of the example journal."""
    items = tuple(raw(item) for item in list(ITEMS.values())[first - 1 : last])
    whole = {"agent": AGENT, "journal": JOURNAL, "boot": 5, "before": HEADS[first - 1], **fields}
    return Acknowledgement(items=whole.pop("items", items), **whole)  # type: ignore[arg-type]


def raw(item: Item) -> msgspec.Raw:
    return msgspec.Raw(encode(item))


def hello(**fields: object) -> Hello:
    whole: dict[str, object] = {
        "agent": AGENT,
        "journal": JOURNAL,
        "boot": 5,
        "number": 9,
        "nonce": NONCE,
        "protocol": 1,
        "software": "relight-agent 0.1.0",
        "trust_version": 7,
        "roster_version": 0,
        "stop_ms": 0,
        "lifted_ms": 0,
        "generation_ms": GENERATION_MS,
        "made": 0,
        "head": HEADS[0],
        "window": 32,
        "meters": 2,
        "unfinished": (),
        **fields,
    }
    return Hello(**whole)  # type: ignore[arg-type]


def welcome(**fields: object) -> Welcome:
    whole: dict[str, object] = {
        "agent": AGENT,
        "nonce": NONCE,
        "generation_ms": GENERATION_MS,
        "now_ms": NOW_MS,
        "floor_epoch": EPOCH,
        "floor_sequence": NOW_MS - SECOND_MS,
        "verdict": JournalVerdict.KNOWN,
        "trust_version": 7,
        "stop_ms": 0,
        "lifted_ms": 0,
        "through": 0,
        "head": HEADS[0],
        **fields,
    }
    return Welcome(**whole)  # type: ignore[arg-type]


def filed(through: int = 6, **fields: object) -> Filed:
    whole = {
        "agent": AGENT,
        "journal": JOURNAL,
        "generation_ms": GENERATION_MS,
        "head": HEADS[min(through, 6)],
        **fields,
    }
    return Filed(through=through, **whole)  # type: ignore[arg-type]


ROSTER = Roster(
    agent=AGENT,
    roster_version=1,
    part=1,
    parts=1,
    meters=(
        RosterEntry(meter=METER, serial="GN40017712", flags=0, invocation=None, line="4059/GN"),
        RosterEntry(meter=OTHER_METER, serial="GN40017713", flags=1, invocation=65, line=""),
    ),
)
STOP = Stop(number_ms=NOW_MS, note="wrong tariff list")
RESUME = Resume(lifts_ms=NOW_MS, note="list withdrawn, checked")

# name -> (type, body). The name says which; the order is the walk's, then the documents.
BODIES: dict[str, tuple[str, Array]] = {
    "hello": ("hello", hello()),
    "welcome": ("welcome", welcome()),
    "payment": ("payment", payment()),
    "receipt": ("receipt", RECEIPT),
    "watermark": ("watermark", WATERMARK),
    "command-close": ("command", CLOSE),
    **{
        f"command-{action}": ("command", command(action, sequence_ms=NOW_MS + place))
        for place, action in enumerate(Action)
        if action is not Action.CLOSE
    },
    "command-open-by-manifest": (
        "command",
        command(Action.OPEN, meter=OTHER_METER, manifest=MANIFEST_ID),
    ),
    "acknowledgement": ("acknowledgement", acknowledgement()),
    "acknowledgement-of-one": ("acknowledgement", acknowledgement(1, 1)),
    "filed": ("filed", filed()),
    "manifest": ("manifest", MANIFEST),
    "roster": ("roster", ROSTER),
    "stop": ("stop", STOP),
    "resume": ("resume", RESUME),
    "root-1": ("root", ROOT_1),
    "root-2": ("root", ROOT_2),
    "registry": ("registry", REGISTRY),
    "trust": ("trust", TRUST),
    "identity": ("identity", identity("agent")),
    "identity-other-agent": ("identity", identity("other-agent")),
    **{name: ("item", item) for name, item in ITEMS.items()},
}
