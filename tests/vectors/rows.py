"""Which receiver judges each row of the vector files; the tests take their rows from here only."""

from typing import Any

from tests.wire import vectors
from wire.topics import MessageType, parse

Row = dict[str, Any]
AGENTS = ("AG-INDORE-0417", "AG-INDORE-0418")


def name_of(row: Row) -> str:
    return str(row["name"])


def side_of(row: Row) -> str:
    """The receiver of a message: whom the vector names, else the engine."""
    if row["receiver"] is None:
        return "engine"
    return "agent" if row["receiver"] in AGENTS else "intake"


def is_command(row: Row) -> bool:
    return parse(row["topic"]).message_type is MessageType.COMMAND


def junk(side: str) -> list[Row]:
    """Messages that fail one of steps 1 to 7."""
    return [row for row in vectors.negative("nothing") if side_of(row) == side]


def commands() -> list[Row]:
    """Genuine commands, refused, not now or accepted."""
    return [row for row in vectors.negative("agent") if is_command(row)]


def words_to_agent() -> list[Row]:
    """Genuine messages to an agent that are no commands."""
    return [row for row in vectors.negative("agent") if not is_command(row)]


def words_to(side: str) -> list[Row]:
    """Genuine messages to an engine or an intake that need its state."""
    return vectors.negative(side)


def envelopes(side: str) -> list[Row]:
    """The positive messages; documents have no topic and no side."""
    return [row for row in vectors.envelopes() if row["topic"] and side_of(row) == side]


def for_everybody() -> list[Row]:
    """Stop and resume on their undirected topics: agents, engine and guard take them (R9)."""
    return [row for row in vectors.envelopes() if row["topic"] in ("stop", "resume")]


def sequences(side: str) -> list[Row]:
    return vectors.sequences(side)


def documents(*kinds: str) -> list[Row]:
    return [row for row in vectors.documents() if row["kind"] in kinds]
