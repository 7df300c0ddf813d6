"""Hello and welcome, and what they bring: time, floor, trust, stop. Nothing moves before them.

Rules kept here (docs/protocol.md, "Before anything moves"; R5, R12, R13):
 * A hello after every start and connection, then every 10 min +- 20 %; unanswered ones after 5, 15
   and 45 s, then the broker is left: it may be up and swallow.
 * A welcome counts only for one of the last 3 nonces of this boot, and each nonce once.
 * Floor, stop and generation are stored before anything is done with them; the floor only rises,
   and one that is not the signing key's epoch, or an hour ahead, is not believed.
 * Trust documents are stored before they are used; an expired registry stops opens, never closes.
Every method that writes takes part in the caller's transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from edge_agent.clock import Clock, TimeReading, TimeView
from edge_agent.held_roster import HeldRoster
from edge_agent.journal import Journal
from edge_agent.settings import PROTOCOL, AgentSettings, Outgoing
from wire.checking import Checked
from wire.decoding import decode_trust, encode
from wire.envelope import seal
from wire.fields import CommandId
from wire.messages import UNFINISHED_MAX, Counter, Hello, Welcome
from wire.topics import MessageType, hello_topic
from wire.trust import Authorities, TrustRefusedError, accept, anchor
from wire.vocabulary import JournalVerdict

NONCE_BYTES = 16
NONCES_MAX = 3
HELLO_PERIOD_MS = 600_000
HELLO_SPREAD = 0.2  # either way, so that a fleet does not greet in one moment
HELLO_RETRIES_MS = (5_000, 15_000, 45_000)
HELLO_AFTER_MOVE_MS = 60_000  # if no other broker answers either
ASKING_PERIOD_MS = 60_000  # an unknown key id asks at most once a minute
FLOOR_AHEAD_MAX_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nonce:
    nonce: bytes
    left_ms: int


def believed(settings: AgentSettings, journal: Journal) -> Authorities:
    """The authorities stored in the journal, anchored in the pin.

    Raises:
        TrustRefusedError: the pin names another root, or the process became a production one.
    """
    held = anchor(journal.standing.first_root or settings.first_root, settings.pin)
    if not journal.standing.trust:
        return held
    documents = decode_trust(journal.standing.trust)
    return accept(held, documents, latest_ms=None, is_production=settings.is_production)


class Greeting:
    """One boot's hellos and welcomes over one journal."""

    def __init__(
        self,
        settings: AgentSettings,
        journal: Journal,
        roster: HeldRoster,
        elapsed_ms: Callable[[], int],
        new_id: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._roster = roster
        self.elapsed_ms = elapsed_ms
        self._new_id = new_id
        self._base_running_ms = journal.standing.running_ms
        self._started_ms = elapsed_ms()
        self._nonces: tuple[_Nonce, ...] = ()
        self._hello_number = 0
        self._unanswered = 0
        self._asked_ms = self._started_ms - ASKING_PERIOD_MS
        self._clock = Clock(disputed_until_ms=journal.standing.disputed_until_ms)
        self.authorities = believed(settings, journal)
        self.ring = self.authorities.keyring()
        self.next_hello_ms: int | None = None  # None until connected for the first time
        self.welcome_trust_version = 0
        self.must_start_anew = False

    # Time

    def running_ms(self) -> int:
        """CLOCK_BOOTTIME summed over all boots of this journal; no message moves it."""
        return self._base_running_ms + self.elapsed_ms() - self._started_ms

    def time(self) -> TimeView | None:
        """What time it can be; None before a usable welcome of this boot."""
        if self.must_start_anew:
            return None
        return self._clock.view(self.elapsed_ms(), self.running_ms())

    def latest_ms(self) -> int | None:
        """The latest time it can be."""
        return self._clock.latest_ms(self.elapsed_ms())

    @property
    def is_welcomed(self) -> bool:
        """Whether this boot may move and answer."""
        return self._clock.reading is not None and not self.must_start_anew

    # Hello

    def hello(self, unfinished: tuple[CommandId, ...]) -> Outgoing:
        """The next hello, with a nonce of its own."""
        now_ms = self.elapsed_ms()
        nonce = self._new_id(NONCE_BYTES)
        self._hello_number += 1
        self._nonces = (*self._nonces[1 - NONCES_MAX :], _Nonce(nonce=nonce, left_ms=now_ms))
        standing = self._journal.standing
        body = encode(
            Hello(
                agent=standing.agent,
                journal=standing.journal_id,
                boot=standing.boot,
                number=self._hello_number,
                nonce=nonce,
                protocol=PROTOCOL,
                software=self._settings.software,
                trust_version=self.authorities.registry_version,
                roster_version=self._roster.version,
                stop_ms=standing.stop_ms,
                lifted_ms=standing.lifted_ms,
                generation_ms=standing.generation_ms,
                made=self._journal.made,
                head=self._journal.head,
                window=self._settings.window,
                meters=len(self._roster.meters),
                unfinished=unfinished[:UNFINISHED_MAX],
            )
        )
        payload = seal(
            self.ring.installation, MessageType.HELLO, body, [self._settings.signing_key]
        )
        return Outgoing(topic=hello_topic(standing.agent), payload=payload)

    def connected(self) -> None:
        """A new connection: the ladder of retries begins again, with a hello at once."""
        self._unanswered = 0
        self.next_hello_ms = self.elapsed_ms()

    def hello_is_due(self) -> bool:
        """Whether the time for a hello has come."""
        return self.next_hello_ms is not None and self.elapsed_ms() >= self.next_hello_ms

    def say_hello(self) -> None:
        """What a hello shows has changed; one that waits for its answer is followed by another."""
        if self.next_hello_ms is not None and not self._unanswered:
            self.next_hello_ms = self.elapsed_ms()

    def after_hello(self) -> bool:
        """Plan the next one; True when three went unanswered and the broker should be left."""
        now_ms = self.elapsed_ms()
        if self._unanswered < len(HELLO_RETRIES_MS):
            self.next_hello_ms = now_ms + HELLO_RETRIES_MS[self._unanswered]
            self._unanswered += 1
            return False
        self._unanswered = 0
        self.next_hello_ms = now_ms + HELLO_AFTER_MOVE_MS
        return True

    def ask(self) -> None:
        """An unknown key signed something: a hello brings the newest trust, once a minute."""
        now_ms = self.elapsed_ms()
        is_planned = self.next_hello_ms is not None and not self._unanswered
        if is_planned and now_ms - self._asked_ms >= ASKING_PERIOD_MS:
            self._asked_ms = now_ms
            self.next_hello_ms = now_ms

    # Welcome

    def answered(self, checked: Checked) -> bool:
        """Whether a verified welcome counts: an unused nonce of this boot, no older ledger."""
        welcome = cast("Welcome", checked.message)
        return welcome.generation_ms >= self._journal.standing.generation_ms and any(
            one.nonce == welcome.nonce for one in self._nonces
        )

    def welcomed(self, checked: Checked) -> tuple[str, ...]:
        """Take a welcome that `answered`; the codes of the alarms it calls for."""
        welcome = cast("Welcome", checked.message)
        asked = next(one for one in self._nonces if one.nonce == welcome.nonce)
        self._nonces = tuple(one for one in self._nonces if one.nonce != welcome.nonce)
        self._unanswered = 0
        if welcome.verdict in (JournalVerdict.ROLLED_BACK, JournalVerdict.RETIRED):
            # Nothing else of it is believed here: it speaks to a journal that is over.
            self.must_start_anew = True
            return ()
        if welcome.generation_ms > self._journal.standing.generation_ms:
            self._journal.adopt_generation(welcome.generation_ms)
        self._take_floor(welcome, {key.epoch for key in checked.signers})
        self.welcome_trust_version = welcome.trust_version
        # `lifted_ms` is not believed: only the document of two approvers lifts a stop (R9).
        self._journal.change(welcome_stop_ms=welcome.stop_ms)
        alarms = self._take_time(welcome, asked.left_ms)
        period_ms = HELLO_PERIOD_MS if self._clock.reading else HELLO_AFTER_MOVE_MS
        self.next_hello_ms = self.elapsed_ms() + self._spread(period_ms)
        return alarms

    def _take_floor(self, welcome: Welcome, epochs: set[int]) -> None:
        is_believed = (
            epochs == {welcome.floor_epoch}
            # A thief could burn every counter of this epoch by one welcome.
            and welcome.floor_sequence <= welcome.now_ms + FLOOR_AHEAD_MAX_MS
        )
        floor = Counter(epoch=welcome.floor_epoch, sequence_ms=welcome.floor_sequence)
        if is_believed and floor > self._journal.standing.floor:
            self._journal.change(floor_epoch=floor.epoch, floor_sequence_ms=floor.sequence_ms)

    def _take_time(self, welcome: Welcome, left_ms: int) -> tuple[str, ...]:
        running_ms = self.running_ms()
        before = self._clock
        self._clock = before.welcomed(
            TimeReading(now_ms=welcome.now_ms, left_ms=left_ms, arrived_ms=self.elapsed_ms()),
            running_ms,
        )
        if self._clock.disputed_until_ms == before.disputed_until_ms:
            return ()
        self._journal.change(disputed_until_ms=self._clock.disputed_until_ms)
        return () if running_ms < before.disputed_until_ms else ("clock_disputed",)

    def _spread(self, period_ms: int) -> int:
        share = int.from_bytes(self._new_id(2), "big") / 65_535  # 0 to 1
        return int(period_ms * (1 - HELLO_SPREAD + 2 * HELLO_SPREAD * share))

    # Documents

    def take_trust(self, payload: bytes) -> str | None:
        """Believe newer trust documents; the code of an alarm if two of one version exist.

        Raises:
            MalformedError: no trust message.
            TrustRefusedError: not to be believed; what is held stays in force.
        """
        documents = decode_trust(payload)
        latest_ms, is_production = self.latest_ms(), self._settings.is_production
        try:
            found = accept(
                self.authorities, documents, latest_ms=latest_ms, is_production=is_production
            )
        except TrustRefusedError:
            # Judged as if none were held: genuine, and of a version whose other text is held.
            held = replace(self.authorities, registry=None, registry_envelope=b"")
            rival = accept(held, documents, latest_ms=latest_ms, is_production=is_production)
            if rival.registry_version == self.authorities.registry_version:
                return "trust_forked"
            raise
        if found is not self.authorities:
            stored = encode(found.documents())
            self._journal.change(first_root=found.first_root, trust=stored)
            self.authorities, self.ring = found, found.keyring()
        return None
