"""What must be true when everything has healed: money, light, and nothing forgotten."""

import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING

from tests.simulation.independent import head_behind
from tests.simulation.ledger_file import Cut
from tests.simulation.schedule import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

_TOLERANCE_PAISE = 100
_LOOK_EVERY_MS = 15_000


def is_at_rest(world: "World") -> bool:
    """Whether nothing is left to do; looked at four times a minute."""
    if world.now_ms < world.next_look_ms:
        return False
    world.next_look_ms = world.now_ms + _LOOK_EVERY_MS
    return not unrest(world)


def unrest(world: "World") -> list[str]:
    """Why the world is not at rest yet."""
    found = []
    if not world.engine.is_up or not world.intake.is_up:
        return ["a process is down"]
    if not world.provider.is_quiet:
        found.append("I1: the provider still posts a report")
    generation_ms = world.engine.engine.generation_ms
    if world.intake.forwarder.generation_ms != generation_ms:
        found.append("R13: the intake does not know the ledger's generation")
    if world.intake.forwarder.unreceipted:
        found.append(f"I1: {world.intake.forwarder.unreceipted} items have no receipt")
    for name, party in world.agents.items():
        if not party.is_up or not party.agent.is_welcomed:
            found.append(f"I9: {name} has no welcome")
        elif party.agent.journal.standing.generation_ms != generation_ms:
            found.append(f"R13: {name} does not know the ledger's generation")
        elif party.agent.journal.standing.filed != party.agent.journal.made:
            found.append(f"R8: {name} has items that were not filed")
    rows = _episodes(world)
    for cut in world.cuts:
        found += _not_lit(world, cut, rows.get(cut.order))
    return found


def _episodes(world: "World") -> dict[str, sqlite3.Row]:
    reader = world.engine.reader
    assert reader is not None
    return {
        row[0]: row
        for row in reader.execute(
            "SELECT order_id, episodes.state, held_because, meter_id,"
            " (SELECT count(*) FROM crew_tickets WHERE episode_id = episodes.id"
            " AND closed_at_ms IS NULL) FROM orders"
            " JOIN quotes ON quotes.id = quote_id JOIN episodes ON episodes.id = episode_id"
            " WHERE provider = 'RAZORPAY'"  # each other source has the same orders
        )
    }


def credited(world: "World", cut: Cut) -> int:
    """What the provider's book says was paid for a cut and kept."""
    return sum(
        one.paise - one.returned_paise
        for one in world.provider.book
        if one.cut is cut and one.must_post
    )


def _not_lit(world: "World", cut: Cut, row: sqlite3.Row | None) -> list[str]:
    """Why a consumer who paid has no light yet, if so."""
    if credited(world, cut) < cut.quote_paise - _TOLERANCE_PAISE:
        return []
    if row is None:
        return [f"I9: the episode of {cut.order} is gone"]
    if world.people.holds(cut.account):
        return []  # its owner's lock keeps it dark; what closed before, stays
    if world.plan.is_hopeless(cut.meter):
        if row[1] == "paid":
            return [] if row[4] else [f"I9: {cut.meter} cannot close, and no crew has a ticket"]
        is_armed = row[1] == "armed" and world.movements.is_armed(cut.meter)
        return [] if is_armed else [f"I8: {cut.meter} cannot close, its episode is {row[1]}"]
    if row[1] not in ("ended", "armed"):
        return [f"I9: {cut.meter} is paid for, its episode is {row[1]} ({row[2]})"]
    is_last = [one for one in world.cuts if one.meter == cut.meter][-1] is cut
    if not is_last or world.movements.is_closed(cut.meter, world.now_ms):
        return []
    if row[1] == "armed" and world.movements.is_armed(cut.meter):
        return []
    return [f"I8: {cut.meter} is dark, its episode is {row[1]}"]


def check_end(world: "World") -> None:
    """Everything that must be true at the end."""
    left = unrest(world)
    if left:
        raise Violation("; ".join(left))
    world.checks.check_history()
    _check_reports(world)
    _check_money(world)
    _check_explained(world)
    _check_movements(world)
    world.edge.never_moved()
    _check_journals(world)


def _check_reports(world: "World") -> None:
    """I1: whatever was answered 2xx is there byte for byte, and reached its end."""
    world.intake.save()  # marks are written lazily
    read = world.intake.spool._db.conn.execute
    stored = {row[0] for row in read("SELECT raw FROM reports")}
    for raw in world.intake.answered:
        if raw not in stored:
            raise Violation(f"I1: answered 2xx and not stored: {raw[:120]!r}")
    open_items = read(
        "SELECT count(*) FROM items WHERE number NOT IN (SELECT number FROM receipts)"
    ).fetchone()[0]
    if open_items:
        raise Violation(f"I1: {open_items} items reached no end")
    for raw, digest in read("SELECT raw, sha256 FROM reports"):
        if sha256(raw).digest() != digest:
            raise Violation("I1: a stored report is not what its digest says")


def _check_money(world: "World") -> None:
    """I2: the ledger's money is the provider's book, each payment once."""
    reader = world.engine.reader
    assert reader is not None
    posted = {
        row[0]: row[1:]
        for row in reader.execute(
            "SELECT payment_id, account_id, amount_paise, returned_paise FROM payments"
        )
    }
    entries = {
        (posting, head): (account, paise)
        for posting, head, account, paise in reader.execute(
            "SELECT posting, head, account_id, amount_paise FROM entries"
        )
    }
    held = 0
    for one in world.provider.book:
        row = posted.pop(one.payment_id, None)
        if not one.must_post:
            if row is not None:
                raise Violation(f"I2: {one.payment_id} was posted without a person's look")
            continue
        account = one.cut.account if one.cut else None
        wanted = (account, one.paise, one.returned_paise if one.cut else 0)
        if row != wanted:
            raise Violation(f"I2: {one.payment_id} is {row}, the provider says {wanted}")
        posting = f"{one.source} captured {one.payment_id}"
        both = [entries.get((posting, head)) for head in ("provider", "receivable")]
        if one.cut and both != [(account, one.paise), (account, -one.paise)]:
            raise Violation(f"I2: the entries of {one.payment_id} are {both}")
        held += (one.paise - one.returned_paise) if one.cut else 0
    if posted:
        raise Violation(f"I2: posted and never captured: {sorted(posted)}")
    total = sum(paise for (_, head), (_, paise) in entries.items() if head == "provider")
    if total != held:
        raise Violation(f"I2: the ledger says providers hold {total}, they hold {held} paise")
    _check_folds(world, entries)


def _check_folds(world: "World", entries: dict[tuple[str, str], tuple[str, int]]) -> None:
    """I3: what each account owes is its bills and charges less what was paid and kept."""
    for account in sorted({cut.account for cut in world.cuts}):
        owed = sum(
            paise
            for (_, head), (whose, paise) in entries.items()
            if head == "receivable" and whose == account
        )
        cuts = [cut for cut in world.cuts if cut.account == account]
        wanted = sum(cut.quote_paise - credited(world, cut) for cut in cuts)
        if owed != wanted:
            raise Violation(f"I3: {account} owes {owed} by its entries, {wanted} by the books")


def _check_explained(world: "World") -> None:
    """Check 26: nothing is stored that did not come as it was sent, on its own topic."""
    reader = world.engine.reader
    assert reader is not None
    for spool, number, raw in reader.execute(
        "SELECT spool, number, raw FROM payment_items JOIN spools ON spools.id = spool_id"
    ):
        if (spool.hex(), number, raw) not in world.checks.given_items:
            raise Violation(f"I1: payment item {number} is stored and was never sent so")
    for agent, journal, number, item in reader.execute(
        "SELECT agent_id, journal, number, item FROM filed_items"
        " JOIN journals ON journals.id = journal_id"
    ):
        if (agent, journal, number, item) not in world.checks.given_acknowledged:
            raise Violation(f"R8: item {number} of {agent} is filed and was never sent so")


def _check_movements(world: "World") -> None:
    """I5, I6: every true movement has one cause, and no command is the cause of two."""
    history = world.population.history
    for at_ms, meter, is_closed in history:
        causes = [one for one in world.movements.causes.get(meter, ()) if one.at_ms <= at_ms]
        if not causes or (causes[-1].is_close is not is_closed and not _springs(world, meter)):
            raise Violation(f"I5: {meter} moved at {at_ms} and nobody asked it to")
    seen: set[bytes] = set()
    for meter, causes in sorted(world.movements.causes.items()):
        for cause in causes:
            if len(cause.who) != 16:
                continue
            if cause.who in seen:
                raise Violation(f"I6: {cause.who.hex()} moved {meter} twice")
            seen.add(cause.who)


def _springs(world: "World", meter: str) -> bool:
    return world.plan.faults.get(meter) == "bounces"


def _check_journals(world: "World") -> None:
    """R8: agent and engine hold the same history, by heads computed apart."""
    reader = world.engine.reader
    assert reader is not None
    for name, party in world.agents.items():
        standing = party.agent.journal.standing
        own = sqlite3.connect(party.path)
        items = [row[0] for row in own.execute("SELECT item FROM items ORDER BY number")]
        own.close()
        row = reader.execute(
            "SELECT through, head FROM journals WHERE agent_id = ? AND standing = 'current'",
            (name,),
        ).fetchone()
        wanted = (len(items), head_behind(standing.journal_id, name, items))
        if row != wanted:
            raise Violation(f"R8: {name} holds {wanted[0]} items, the ledger {row[0]}, or forked")
