"""One row of the conformance table: what is sent, what must be seen, and how that is played."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.conformance.stage import Stage


class Begin(StrEnum):
    """How the agent stands when a case begins."""

    WELCOMED = "welcomed"  # running and welcomed; cases that begin so share one life
    FRESH = "fresh"  # its state was emptied; running and welcomed
    UNWELCOMED = "unwelcomed"  # its state was emptied; running, its first hello waits


Play = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row."""

    name: str
    rule: str
    sent: str
    seen: str
    begin: Begin
    play: Play


class Chapter:
    """The rows of one subject, in the order in which they are played."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases: list[Case] = []

    def row(
        self, name: str, rule: str, sent: str, seen: str, *, begin: Begin = Begin.WELCOMED
    ) -> Callable[[Play], Play]:
        """Put the function below into the table, under this name."""

        def put(play: Play) -> Play:
            self.cases.append(
                Case(
                    name=f"{self.name}/{name}",
                    rule=rule,
                    sent=sent,
                    seen=seen,
                    begin=begin,
                    play=play,
                )
            )
            return play

        return put
