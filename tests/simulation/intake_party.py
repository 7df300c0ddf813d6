"""The intake in the simulated world: the door's rules, the real spool, the real forwarder.

It does what `cloud.intake.process` and `server` do around them, without sockets and tasks.
"""

import shutil
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from cloud.intake.counting import Counters
from cloud.intake.facts import Report
from cloud.intake.forwarding import Forwarder, Outgoing, Sender
from cloud.intake.provider import Signature
from cloud.intake.spool import Spool, StoreUnavailableError
from tests.simulation.broker import Delivery
from tests.simulation.files import folder, spool_image
from tests.simulation.installation import INTAKE, authorities, key
from tests.simulation.one_failure import fail_once
from tests.simulation.schedule import Violation
from tests.simulation.sources import DOORS

if TYPE_CHECKING:
    from tests.simulation.world import World

NAME = "intake"
_BUSY_TICK_MS = 2_000
_IDLE_TICK_MS = 120_000  # the product's tick is a quarter of a second; nothing is due meanwhile


class IntakeParty:
    """One intake process after another, over one spool."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.path = folder() / "spool.sqlite"
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(spool_image(), self.path)
        self.path.chmod(0o600)
        self.life = 0
        self.is_up = False
        self.clock_offset_ms = 0
        self.answered: list[bytes] = []  # raw bytes of every report answered 2xx
        self.start()

    @property
    def clock_ms(self) -> int:
        """The intake's own clock."""
        return self._world.now_ms + self.clock_offset_ms

    def start(self) -> None:
        """A new process over the same file."""
        world = self._world
        self.life += 1
        self.is_up = True
        self.spool = Spool.create_or_open(
            self.path, now_ms=self.clock_ms, make_bytes=world.randomness.randbytes
        )
        self._read = Spool.beside(self.path)
        sender = Sender(intake=INTAKE, key=key("intake"), ring=authorities().keyring())
        self.forwarder = Forwarder(self._read, sender, Counters(), world.randomness)
        world.note(NAME, "started", self.forwarder.unreceipted)
        self._tick(self.life)

    def crash(self) -> None:
        """The process is gone; the file is as it is."""
        self._world.note(NAME, "crashed")
        self.is_up = False
        self._read.close()
        self.spool.close()
        self._world.down(NAME, self.start)

    # The door

    def post(self, source: str, raw: bytes, signature: str, event_id: str) -> int | None:
        """One webhook; None: no answer came."""
        world = self._world
        if not self.is_up:
            return None
        door = DOORS[source]
        if door.judge(raw, signature, self.clock_ms) is not Signature.GENUINE:
            return 401
        if not self.forwarder.has_room:
            return 503
        report = Report(
            provider=door.name,
            event_id=event_id,
            raw=raw,
            received_at_ms=self.clock_ms,
            reading=door.read_report(raw),
        )
        if world.store_fails():
            fail_once(self.spool._db.conn, world.randomness)
        try:
            taken = self.spool.take_in([report])
        except StoreUnavailableError:
            world.note(NAME, "503")
            return 503
        finally:
            self.spool._db.conn.set_progress_handler(None, 0)
        if world.crashes(NAME):
            self.crash()
            return None
        world.note(NAME, "200", event_id, taken[0].is_duplicate, taken[0].items)
        self._check_stored(raw)
        self.answered.append(raw)
        if taken[0].items:
            self.forwarder.stored()
            self._send()
        return 200 if world.randomness.random() < 0.9 or world.is_healed else None

    def _check_stored(self, raw: bytes) -> None:
        """I1: what is answered 2xx is in the file byte for byte, as another connection reads it."""
        found = self._read._execute(
            "SELECT count(*) FROM reports WHERE sha256 = ? AND raw = ?", (sha256(raw).digest(), raw)
        ).fetchone()[0]
        if found != 1:
            raise Violation(f"I1: answered 2xx and stored {found} times: {raw[:120]!r}")

    # The link

    def connected(self) -> None:
        """Offer everything again."""
        if self.is_up:
            self.forwarder.offer_again(self.clock_ms)
            self._send()

    def deliver(self, delivery: Delivery) -> None:
        """A receipt, or what the broker says is one."""
        if not self.is_up:
            return
        world = self._world
        self.forwarder.receive([delivery], self.clock_ms)
        world.broker.acknowledge(NAME, [delivery])
        if self.forwarder.must_save_first:
            self.save()
        if self.is_up:
            self._send()

    def _tick(self, life: int) -> None:
        if life != self.life or not self.is_up:
            return
        self.save()
        if not self.is_up:
            return
        self._send()
        wait_ms = _BUSY_TICK_MS if self.forwarder.in_flight else _IDLE_TICK_MS
        self._world.schedule.after(wait_ms, lambda: self._tick(life))

    def save(self) -> None:
        """Write the receipts that came."""
        marks = self.forwarder.unsaved()
        if marks is None:
            return
        if self._world.store_fails():
            fail_once(self.spool._db.conn, self._world.randomness)
        try:
            self.spool.save(marks)
        except StoreUnavailableError:
            return
        finally:
            self.spool._db.conn.set_progress_handler(None, 0)
        if self._world.crashes(NAME):
            self.crash()
            return
        self.forwarder.saved(marks)

    def _send(self) -> None:
        world = self._world
        if not world.broker.is_connected(NAME):
            return
        outgoing: Iterable[Outgoing] = self.forwarder.due(self.clock_ms)
        watermark = self.forwarder.watermark(self.clock_ms)
        for one in [*outgoing, watermark] if watermark else outgoing:
            world.broker.publish(NAME, one.topic, one.payload)
