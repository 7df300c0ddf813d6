"""Every word of the agent under test, checked and kept.

Rules kept here: every message is taken through steps 1 to 7, as the engine does; items of a journal
never change and continue one chain; hellos of a journal rise; nothing is answered in a boot that
was not welcomed. What breaks this is a violation, and the case that is being played fails by it.
"""

from dataclasses import dataclass, field

from edge_agent.conformance.installation import Installation
from wire.chain import first_head, next_head
from wire.checking import Checked, Delivered, check
from wire.decoding import decode_item
from wire.fields import JournalId
from wire.messages import Acknowledgement, CommandItem, Hello, Item
from wire.topics import presence_topic
from wire.vocabulary import OUTCOMES, Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One item in one message: when it came."""

    number: int
    at_s: float


@dataclass(slots=True)
class Book:
    """The items of one journal, as far as they were told."""

    journal: JournalId
    heads: list[bytes]  # heads[n] is head(n); as long as all items 1..n are here
    raw: dict[int, bytes] = field(default_factory=dict)
    items: dict[int, Item] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    last_hello: tuple[int, int] = (0, 0)

    @property
    def through(self) -> int:
        """The highest n with all of 1..n here."""
        return len(self.heads) - 1

    def continue_chain(self) -> None:
        """Heads as far as the items reach."""
        while self.through + 1 in self.raw:
            self.heads.append(next_head(self.heads[-1], self.raw[self.through + 1]))


class Record:
    """What was heard from the agent in one life of its."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._ring = installation.agent_ring()
        self.books: dict[bytes, Book] = {}
        self.hellos: list[Hello] = []
        self.hello_times_s: list[float] = []
        self.presences: list[bytes] = []
        self.violations: list[str] = []
        self.welcomed: set[tuple[bytes, int]] = set()  # (journal, boot)
        self.actions: dict[bytes, str] = {}  # of the commands sent, by id

    def take(self, delivered: Delivered, *, now_ms: int, at_s: float) -> Checked | None:
        """Keep what the agent said; None if it was no signed message."""
        if delivered.topic == presence_topic(self._installation.agent):
            self.presences.append(delivered.payload)
            return None
        checked = check(delivered, self._ring, at_ms=now_ms)
        if not isinstance(checked, Checked):
            self._violation(
                f"its message on {delivered.topic} is junk at step {checked.step}"
                f" ({checked.reason}): {delivered.payload[:64].hex()}..."
            )
            return None
        if isinstance(checked.message, Hello):
            self._take_hello(checked.message, at_s)
        elif isinstance(checked.message, Acknowledgement):
            self._take_items(checked.message, at_s)
        return checked

    def book(self, journal: bytes) -> Book:
        """The book of a journal, new or begun."""
        if journal not in self.books:
            found = JournalId(journal)
            head = first_head(found, self._installation.agent)
            self.books[journal] = Book(found, [head])
        return self.books[journal]

    def _violation(self, text: str) -> None:
        self.violations.append(text)

    def _take_hello(self, hello: Hello, at_s: float) -> None:
        book = self.book(hello.journal)
        place = (hello.boot, hello.number)
        if place <= book.last_hello:
            self._violation(f"hello (boot, number) {place} does not follow {book.last_hello} (R5)")
        if hello.nonce in {one.nonce for one in self.hellos}:
            self._violation(f"nonce {hello.nonce.hex()} was used before (R5)")
        if hello.made <= book.through and hello.head != book.heads[hello.made]:
            self._violation(f"hello: head is not head({hello.made}) of the items it sent (R8)")
        book.last_hello = max(place, book.last_hello)
        self.hellos.append(hello)
        self.hello_times_s.append(at_s)

    def _take_items(self, said: Acknowledgement, at_s: float) -> None:
        book = self.book(said.journal)
        if (said.journal, said.boot) not in self.welcomed:
            self._violation(f"items of boot {said.boot}, which was not welcomed (R5)")
        raws = [bytes(one) for one in said.items]
        first = decode_item(raws[0]).number
        if first - 1 <= book.through and said.before != book.heads[first - 1]:
            self._violation(f"acknowledgement: `before` is not head({first - 1}) (R8)")
        for raw in raws:
            item = decode_item(raw)
            if book.raw.setdefault(item.number, raw) != raw:
                self._violation(f"item {item.number} came with other bytes than before (I3)")
            if item.number not in book.items and isinstance(item, CommandItem):
                self._judge(item, book)
            book.items[item.number] = item
            book.heard.append(Heard(number=item.number, at_s=at_s))
        book.continue_chain()

    def _judge(self, item: CommandItem, book: Book) -> None:
        action = self.actions.get(item.command)
        if action is None:
            self._violation(f"item {item.number} is about a command that was never sent")
        elif action in set(Action) and item.outcome not in OUTCOMES[Action(action)]:
            self._violation(f"outcome {item.outcome} does not belong to {action}")
        if any(
            isinstance(one, CommandItem) and one.command == item.command
            for one in book.items.values()
        ):
            self._violation(f"item {item.number} is a second outcome of one command (R8)")
        times = (item.received_at_ms, item.acted_at_ms, item.read_at_ms)
        known = [one for one in times if one is not None]
        if known != sorted(known):
            self._violation(
                f"item {item.number}: received, acted, read are {known}: they must rise"
            )
