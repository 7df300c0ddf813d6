"""What must hold of the ledger after every turn, and of every message before the engine sends it.

Read from the file by a connection of their own, judged against what the world did, not against
what the engine thinks it did: I1 to I4, I15, and the rules on welcomes, receipts and filed.
"""

import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING

from tests.simulation.broker import Delivery
from tests.simulation.checks_lawful import LawfulChecks
from tests.simulation.independent import head_behind, items_of, taken_apart
from tests.simulation.ledger_file import account_of
from tests.simulation.schedule import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

_UNSAFE = """SELECT locks.id, locks.kind, commands.meter_id FROM locks
    JOIN meters ON meters.account_id = locks.account_id
    JOIN commands ON commands.meter_id = meters.meter_id AND commands.state = 'published'
        AND commands.action = 'close'
    WHERE locks.cleared_at_ms IS NULL AND locks.effective_at_ms IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM commands AS held WHERE held.meter_id = commands.meter_id
        AND held.action = 'withdraw' AND held.outcome IN ('withdrew', 'nothing_pending')
        AND held.sequence_ms > commands.sequence_ms)"""
_EFFECTIVE = """SELECT locks.id, locks.kind FROM locks JOIN meters USING (account_id)
    WHERE meter_id = ? AND cleared_at_ms IS NULL AND effective_at_ms IS NOT NULL
    AND (SELECT locks_wait_until_ms FROM ledger) < ?"""
_NOT_HELD_BACK = """SELECT id, meter_id FROM episodes WHERE state = 'open'
    AND EXISTS (SELECT 1 FROM commands WHERE episode_id = episodes.id AND action = 'close'
        AND state = 'published' AND is_overtaken = 0)
    AND NOT EXISTS (SELECT 1 FROM commands WHERE episode_id = episodes.id
        AND action = 'withdraw' AND state IN ('queued', 'published'))"""
_STORED = frozenset({"payment", "acknowledgement"})
_ALL_HISTORY_EVERY = 16  # turns between two comparisons of all history
_LOOK_AGAIN_MS = 60_000  # time alone makes an episode late
_TOLERANCE_PAISE = 100


class LedgerChecks:
    """The checks of one world's ledger."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._lawful = LawfulChecks(world)
        self.given_items: set[tuple[str, int, bytes]] = set()
        self.given_acknowledged: set[tuple[str, bytes, int, bytes]] = set()
        self.has_restored = False
        self.lowest_offset_ms = 0
        self._turns = 0
        self._posted_to = 0  # rows of payments that were looked at
        self._version: tuple[int, ...] = ()  # of the file, as this engine's reader saw it last
        self._look_again_ms = 0
        self._history: dict[str, list[tuple]] = {"entries": [], "decisions": []}
        self._known_commands: set[bytes] = set()
        self._highest_sent: dict[str, int] = {}
        self._greeted: set[tuple[str, bytes, int]] = set()
        # (agent, journal, boot) -> the highest counter sent before its first hello came
        self._given_before: dict[tuple[str, bytes, int], int] = {}

    @property
    def _reader(self) -> sqlite3.Connection:
        reader = self._world.engine.reader
        assert reader is not None
        return reader

    # What the engine is given

    def engine_is_given(self, batch: list[Delivery]) -> None:
        """Remember what came as it was sent: nothing else may ever be stored (check 26)."""
        for delivery in batch:
            kind = delivery.topic.split("/")[0]
            if kind == "hello" and self._world.is_as_sent(delivery):
                body = taken_apart(delivery.topic, delivery.payload).body
                given = self._highest_sent.get(body[1], 0)
                self._given_before.setdefault((body[1], body[2], body[3]), given)
            if kind not in _STORED or not self._world.is_as_sent(delivery):
                continue
            body = taken_apart(delivery.topic, delivery.payload).body
            if kind == "payment":
                self.given_items |= {(body[2].hex(), item[0], item[1]) for item in body[4]}
            else:
                for item, raw in items_of(delivery.payload):
                    self.given_acknowledged.add((body[1], body[2], item[0], raw))

    # After every turn

    def engine_turned(self) -> None:
        """Everything that holds at each commit; what a turn left as it was still holds."""
        read = self._reader.execute
        version = (self._world.engine.life, *read("PRAGMA data_version").fetchone())
        if version == self._version and self._world.now_ms < self._look_again_ms:
            return
        self._version, self._look_again_ms = version, self._world.now_ms + _LOOK_AGAIN_MS
        self._lawful.engine_turned(self._reader)
        unsafe = read(_UNSAFE).fetchall()
        if unsafe:
            raise Violation(f"I15: a lock is called effective while a close is live: {unsafe}")
        loose = read(_NOT_HELD_BACK).fetchall()
        if loose:
            raise Violation(f"R3: not covered any more, a close is live, no withdrawal: {loose}")
        self._check_posted()
        self._turns += 1
        if self._turns % _ALL_HISTORY_EVERY == 0:
            self.check_history()

    def _check_posted(self) -> None:
        """I2: what is posted was captured by its provider, and no person must look at it first."""
        rows = self._reader.execute(
            "SELECT rowid, provider, payment_id, amount_paise FROM payments WHERE rowid > ?",
            (self._posted_to,),
        ).fetchall()
        for row, provider, payment_id, paise in rows:
            self._posted_to = row
            if not self._world.has_captured(provider, payment_id, paise):
                raise Violation(f"I2: {paise} paise of {payment_id} were posted, never captured so")

    def closes_now(self, meter: str) -> None:
        """A relay is told to close: no lock that is called effective may stand against it."""
        engine = self._world.engine
        reader = self._reader if engine.is_up else engine.file.reader()
        locks = reader.execute(_EFFECTIVE, (meter, engine.clock_ms)).fetchall()
        if not engine.is_up:
            reader.close()
        if locks:
            raise Violation(f"I15: {meter} is told to close under effective locks {locks}")

    def check_history(self) -> None:
        """I3: what was there is there unchanged, and only more was added behind it."""
        for table, order in (("entries", "id"), ("decisions", "rowid")):
            rows = self._reader.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()
            before = self._history[table]
            if rows[: len(before)] != before:
                raise Violation(f"I3: {table} that were stored have changed or are gone")
            self._history[table] = rows
        unbalanced = self._reader.execute(
            "SELECT posting FROM entries GROUP BY posting"
            " HAVING sum(amount_paise) <> 0 OR count(*) <> 2"
        ).fetchall()
        if unbalanced:
            raise Violation(f"I3: debits are not credits: {unbalanced}")

    def restored(self) -> None:
        """An older ledger was put in place: history begins there again."""
        self.has_restored = True
        self._posted_to = 0
        self._lawful.restored()
        self._history = {"entries": [], "decisions": []}
        self._known_commands.clear()
        self._greeted.clear()

    def clock_stepped(self, offset_ms: int) -> None:
        """The engine's clock is off by so much from now on."""
        self.lowest_offset_ms = min(self.lowest_offset_ms, offset_ms)

    # Before every message

    def engine_publishes(self, topic: str, payload: bytes) -> None:
        """What the engine says must be in its file already."""
        kind = topic.split("/", maxsplit=1)[0]
        if kind in ("live", "trust"):
            return  # unsigned, or signed by the root alone
        sealed = taken_apart(topic, payload)
        if kind == "receipt":
            self._receipt(sealed.body)
        elif kind == "filed":
            self._filed(sealed.body)
        elif kind == "command":
            self._command(sealed.digest[:16], sealed.body)
        elif kind == "welcome":
            self._welcome(sealed.body)

    def _receipt(self, body: list) -> None:
        for number, raw16, verdict in body[4]:
            row = self._reader.execute(
                "SELECT substr(raw, 1, 16) FROM payment_items JOIN spools"
                " ON spools.id = payment_items.spool_id WHERE spool = ? AND number = ?",
                (body[2], number),
            ).fetchone()
            if row is None:
                raise Violation(f"I1: a receipt for item {number}, which is not stored")
            if row[0] != raw16 and verdict != "quarantined":
                raise Violation(f"I1: a receipt for item {number} speaks of other bytes")

    def _filed(self, body: list) -> None:
        _, agent, journal, _, through, head = body
        rows = self._reader.execute(
            "SELECT item FROM filed_items JOIN journals ON journals.id = journal_id"
            " WHERE agent_id = ? AND journal = ? AND number <= ? ORDER BY number",
            (agent, journal, through),
        ).fetchall()
        if len(rows) != through:
            raise Violation(f"R8: filed through {through} for {agent}, {len(rows)} items stored")
        if head_behind(journal, agent, [row[0] for row in rows]) != head:
            raise Violation(f"R8: filed {through} for {agent} with a head that is not theirs")

    def _command(self, command_id: bytes, body: list) -> None:
        _, action, agent, meter, _, sequence_ms, _, evidence, _ = body
        self._highest_sent[agent] = max(self._highest_sent.get(agent, 0), sequence_ms)
        if command_id in self._known_commands:
            return
        self._known_commands.add(command_id)
        row = self._reader.execute(
            "SELECT record, verdict FROM commands JOIN decisions ON digest = decision"
            " WHERE command_id = ? AND meter_id = ? AND agent_id = ?",
            (command_id, meter, agent),
        ).fetchone()
        if row is None or sha256(row[0]).digest() != evidence:
            raise Violation(f"I4: {action} of {meter} names no decision that was stored before it")
        if action != row[1]:
            raise Violation(f"I4: {action} of {meter} names a decision to {row[1]}")
        if action == "close":
            self._is_paid_for(meter)
        if action != "withdraw":
            self._world.moving.commands_go_to(agent, meter)

    def _is_paid_for(self, meter: str) -> None:
        """Check 19: by the provider's own book, the episode's quote was captured."""
        cut = [one for one in self._world.cuts if one.meter == meter][-1]
        paid = sum(
            one.paise for one in self._world.provider.book if one.cut is cut and one.must_post
        )
        if paid < cut.quote_paise - _TOLERANCE_PAISE:
            raise Violation(f"I4: a close for {meter}: {paid} paise of {cut.quote_paise} captured")

    def _welcome(self, body: list) -> None:
        _, agent, nonce, _, _, _, floor_ms, verdict, *_ = body
        hello = self._world.edge.hellos[nonce]
        _, _, journal, boot, *_ = hello
        if verdict not in ("known", "new") or (agent, journal, boot) in self._greeted:
            return
        self._greeted.add((agent, journal, boot))
        highest_ms = self._given_before[(agent, journal, boot)]
        if not self.has_restored and floor_ms < highest_ms:
            raise Violation(f"R5: floor {floor_ms} for {agent}, though {highest_ms} was given")
        left = self._reader.execute(
            "SELECT command_id, sequence_ms FROM commands WHERE agent_id = ?"
            " AND state = 'published' AND sequence_ms <= ?",
            (agent, floor_ms),
        ).fetchall()
        # With a final word it is not lost: after a restore that word comes again.
        finals = self._world.edge.finals
        lost = [one for one, _ in left if one not in hello[-1] and (journal, one) not in finals]
        if lost:
            raise Violation(
                f"R5: {agent} began anew without {[one.hex() for one in lost]}: it will refuse"
                " them, yet they are live"
            )

    # For the world

    def forged(self, status: int | None) -> None:
        """A report whose bytes nobody signed is turned away."""
        if status not in (401, None):
            raise Violation(f"I1: a forged report was answered {status}")

    def may_be_cut_again(self, meter: str) -> bool:
        """Whether a meter's last cut is history: paid, ended, no word of it still under way."""
        world = self._world
        cuts = [one for one in world.cuts if one.meter == meter]
        if not cuts or not world.engine.is_up or not world.provider.is_over(cuts[-1]):
            return False
        if meter in world.plan.faults or meter in world.plan.modes or not world.intake.is_up:
            return False
        if world.intake.forwarder.unreceipted or not world.movements.is_closed(meter, world.now_ms):
            return False
        busy = self._reader.execute(
            "SELECT (SELECT count(*) FROM episodes WHERE account_id = ?1 AND ended_at_ms IS NULL)"
            " + (SELECT count(*) FROM commands WHERE meter_id = ?2"
            " AND state IN ('queued', 'published'))",
            (account_of(meter), meter),
        ).fetchone()[0]
        return busy == 0
