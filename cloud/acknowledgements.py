"""Step 12, file: an agent's numbered items become facts, and what they mean is applied.

Rules kept here (R8):
 * An item is stored as its exact bytes under (journal, number), once. The same number with other
   bytes is a fork: the agent is suspended for opens, both versions are kept.
 * `through` is the highest number with every lower one stored; the chain is checked as far as that.
 * An item changes only its own command and episode; an unknown command's item is an orphan, filed.
 * The relay's view follows (journal, number), not arrival. I8: only what was read back counts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update

from cloud.alarms import raise_alarm
from cloud.schema import agents, filed_items, journals
from cloud.store import Found
from cloud.vocabulary import JournalStanding
from wire.chain import next_head
from wire.messages import Acknowledgement, CommandItem, Item, ReceivedItem

CATCH_UP_MAX = 4_096  # stored items walked over at once when a gap closes

_JOURNALS = select(journals).where(
    tuple_(journals.c.agent_id, journals.c.journal).in_(bindparam("wanted", expanding=True))
)
_STORED = select(filed_items.c.journal_id, filed_items.c.number, filed_items.c.item).where(
    tuple_(filed_items.c.journal_id, filed_items.c.number).in_(bindparam("again", expanding=True))
)
_INSERT_ITEMS = insert(filed_items)
_ADVANCE = (
    update(journals)
    .where(journals.c.id == bindparam("of_journal"))
    .values(
        through=bindparam("new_through"),
        head=bindparam("new_head"),
        stored_to=bindparam("new_stored_to"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One item as it came: its bytes, its meaning, and the head named before it, if any."""

    item: Item
    raw: bytes
    before: bytes | None


@dataclass(slots=True, kw_only=True)
class JournalProgress:
    """One journal during a turn; written back once."""

    row_id: int
    agent_id: str
    journal: bytes
    is_current: bool
    is_forked: bool
    through: int
    head: bytes
    stored_to: int

    @property
    def has_gap(self) -> bool:
        """Whether items above `through` are stored already."""
        return self.stored_to > self.through


@dataclass(slots=True, kw_only=True)
class Filed:
    """What the acknowledgements of one turn did."""

    progress: dict[tuple[str, bytes], JournalProgress] = field(default_factory=dict)
    fresh: list[tuple[JournalProgress, Arrived]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One acknowledgement message with its items decoded."""

    message: Acknowledgement
    items: tuple[Item, ...]

    def arrived(self) -> list[Arrived]:
        """The items beside their bytes; the first carries the head that the message names."""
        return [
            Arrived(item=item, raw=bytes(raw), before=None if place else self.message.before)
            for place, (item, raw) in enumerate(zip(self.items, self.message.items, strict=True))
        ]


def file(transaction: Connection, parcels: Sequence[Parcel], *, now_ms: int) -> Filed:
    """Store what is new of `parcels` in the caller's transaction, and advance each journal."""
    filed = Filed(progress=_journals(transaction, [parcel.message for parcel in parcels]))
    # A journal no hello spoke for yet is not answered: its agent sends again after the welcome.
    known = [
        (progress, parcel.arrived())
        for parcel in parcels
        if (progress := filed.progress.get((parcel.message.agent, parcel.message.journal)))
        and not progress.is_forked
    ]
    stored = _stored(transaction, known)
    for progress, arrived in known:
        if progress.is_forked:
            continue
        fork = _file_parcel(progress, arrived, stored, filed)
        if fork is not None:
            _fork(transaction, progress, fork, now_ms)
    _insert(transaction, filed.fresh, now_ms)
    for progress in filed.progress.values():
        if progress.has_gap:
            _catch_up(transaction, progress, now_ms)
    _write_back(transaction, filed.progress.values())
    return filed


def _journals(
    transaction: Connection, messages: Sequence[Acknowledgement]
) -> dict[tuple[str, bytes], JournalProgress]:
    wanted = list({(message.agent, message.journal) for message in messages})
    return {
        (row.agent_id, row.journal): JournalProgress(
            row_id=row.id,
            agent_id=row.agent_id,
            journal=row.journal,
            is_current=row.standing == JournalStanding.CURRENT.value,
            is_forked=row.forked_at_ms is not None,
            through=row.through,
            head=row.head,
            stored_to=row.stored_to,
        )
        for row in transaction.execute(_JOURNALS, {"wanted": wanted})
    }


def _stored(
    transaction: Connection, known: Sequence[tuple[JournalProgress, list[Arrived]]]
) -> dict[tuple[int, int], bytes]:
    """The bytes held already for numbers that arrived again."""
    again = [
        (progress.row_id, one.item.number)
        for progress, arrived in known
        for one in arrived
        if one.item.number <= progress.stored_to
    ]
    if not again:
        return {}
    return {
        (row.journal_id, row.number): row.item
        for row in transaction.execute(_STORED, {"again": again})
    }


def _file_parcel(
    progress: JournalProgress,
    arrived: Sequence[Arrived],
    stored: dict[tuple[int, int], bytes],
    filed: Filed,
) -> str | None:
    """Take one message's items in; what forked its journal, if they do not fit what is held."""
    for one in arrived:
        number = one.item.number
        held = stored.get((progress.row_id, number))
        if held is not None:
            if held != one.raw:
                return f"item {number}: {held.hex()} or {one.raw.hex()}"
            continue
        if number == progress.through + 1 and one.before not in (None, progress.head):
            return f"head before item {number} differs"
        stored[(progress.row_id, number)] = one.raw
        filed.fresh.append((progress, one))
        if number == progress.through + 1:
            progress.through, progress.head = number, next_head(progress.head, one.raw)
        progress.stored_to = max(progress.stored_to, number)
    return None


def _fork(transaction: Connection, progress: JournalProgress, detail: str, now_ms: int) -> None:
    """Two histories of one journal: a clone, or a changed disk. Opens stop, nothing is trimmed."""
    progress.is_forked = True
    transaction.execute(
        update(journals).where(journals.c.id == progress.row_id).values(forked_at_ms=now_ms)
    )
    transaction.execute(
        update(agents).where(agents.c.agent_id == progress.agent_id).values(suspended_at_ms=now_ms)
    )
    raise_alarm(transaction, "history_forked", progress.agent_id, detail, now_ms=now_ms)


def _insert(
    transaction: Connection, fresh: Sequence[tuple[JournalProgress, Arrived]], now_ms: int
) -> None:
    rows = [
        {
            "journal_id": progress.row_id,
            "number": one.item.number,
            "kind": one.item.kind,
            "item": one.raw,
            "before": one.before,
            "command_id": one.item.command
            if isinstance(one.item, CommandItem | ReceivedItem)
            else None,
            "filed_at_ms": now_ms,
        }
        for progress, one in fresh
    ]
    if rows:
        transaction.execute(_INSERT_ITEMS, rows)


def _catch_up(transaction: Connection, progress: JournalProgress, now_ms: int) -> None:
    """Walk over stored items that a closed gap made contiguous, checking the chain on the way."""
    following: Sequence[Found] = transaction.execute(
        select(filed_items.c.number, filed_items.c.item, filed_items.c.before)
        .where(filed_items.c.journal_id == progress.row_id)
        .where(filed_items.c.number > progress.through)
        .order_by(filed_items.c.number)
        .limit(CATCH_UP_MAX)
    ).all()
    for row in following:
        if row.number != progress.through + 1:
            return
        if row.before not in (None, progress.head):
            _fork(transaction, progress, f"head before item {row.number} differs", now_ms)
            return
        progress.through, progress.head = row.number, next_head(progress.head, row.item)


def _write_back(transaction: Connection, journals_touched: Collection[JournalProgress]) -> None:
    if not journals_touched:
        return
    transaction.execute(
        _ADVANCE,
        [
            {
                "of_journal": progress.row_id,
                "new_through": progress.through,
                "new_head": progress.head,
                "new_stored_to": progress.stored_to,
            }
            for progress in journals_touched
        ],
    )
