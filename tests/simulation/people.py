"""People who place and clear locks: rows they ask for, which the engine weighs by its own rules.

Rules kept here: whoever placed a lock clears it, or nobody does; what was asked for is remembered
here, so that a lock the engine clears by itself is seen (I10).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

KINDS = ("theft", "safety", "consumer_request", "court_order")
_CLEARED_SHARE = 0.7
_CLEAR_AFTER_MAX_MS = 900_000


class People:
    """Everybody who owns a lock other than non-payment."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.placed: set[tuple[str, str]] = set()  # account and kind, as asked
        self.cleared: set[tuple[str, str]] = set()  # asked to be cleared

    def place(self) -> None:
        """Ask for a lock on one of the accounts; most are cleared again by and by."""
        world = self._world
        # Best of a consumer who is cut off: their payment must not touch it.
        account = world.randomness.choice(world.cuts).account
        lock = (account, world.randomness.choice(KINDS))
        if lock in self.placed:
            return
        self.placed.add(lock)
        self._ask("lock_place", lock)
        if world.randomness.random() < _CLEARED_SHARE:
            wait_ms = int(_CLEAR_AFTER_MAX_MS * world.randomness.random() ** 2)
            world.schedule.after(wait_ms, lambda: self._clear(lock))

    def _clear(self, lock: tuple[str, str]) -> None:
        self.cleared.add(lock)
        self._ask("lock_clear", lock)

    def _ask(self, kind: str, lock: tuple[str, str]) -> None:
        account, name = lock
        self._world.note("people", kind, account, name)
        with self._world.engine.file.writing() as connection:
            connection.execute(
                "INSERT INTO requests (kind, subject, detail, asked_by, asked_at_ms)"
                " VALUES (?, ?, ?, 'the owner', ?)",
                (kind, account, f"{name} letter", self._world.now_ms),
            )
        self._world.engine.wake()

    def holds(self, account: str) -> bool:
        """Whether a lock stands that nobody asked to clear."""
        return any(one[0] == account for one in self.placed - self.cleared)
