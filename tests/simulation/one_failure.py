"""A disk that fails once: the next statements of one connection end in an OperationalError."""

import sqlite3
from random import Random


def fail_once(connection: sqlite3.Connection, randomness: Random) -> None:
    """Fail after some steps of SQLite's own machine; the statements after that succeed again."""
    left = [1]

    def step() -> int:
        left[0] -= 1
        return left[0] == 0

    connection.set_progress_handler(step, randomness.choice((1, 5, 20, 60, 150)))
