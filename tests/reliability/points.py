"""The points at which a process dies, mapped onto the functions of the product.

Each names one function, the side of it on which the process dies, and what is on disk by then. The
product holds no hooks: `crashing` wraps these functions in the process that is to die. Rules:
 * A point whose function is gone fails every start under the launcher: the table stays true.
 * `leaves` is looked at between death and restart: some payment must have come as far as the first
   stage and not to the second. `passes`: before that, all of the first stage reach the second,
   because the bytes had left. So a point mapped to the wrong place fails its test.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.reliability.stages import Stage


class Moment(StrEnum):
    """On which side of its function a process dies."""

    BEFORE = "before"  # instead of the call
    AFTER = "after"  # the call has returned
    # uvloop hands what was written to the kernel at the end of a turn of the loop: these two die
    # a few turns later. The call of the first is never made.
    BEFORE_AND_SENT = "before, what was written is out"
    AFTER_AND_SENT = "after, what was written is out"
    ANSWERED = "when its future is done"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a wrapped function: its arguments without `self`, and what it returned."""

    arguments: tuple[Any, ...]
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One place to die."""

    name: str
    part: str  # which process reaches it
    place: str  # module:attribute
    moment: Moment
    leaves: tuple[Stage, Stage]
    passes: tuple[Stage, Stage] | None = None
    is_meant: Callable[[Call], bool] = lambda _: True
    on_disk: str
    not_yet: str


def _has(name: str, messages: Iterable[Any]) -> bool:
    """Whether messages with a topic have one of this type among them."""
    return any(one.topic.startswith(f"{name}/") for one in messages)


def _delivered(name: str) -> Callable[[Call], bool]:
    return lambda call: _has(name, call.arguments[0])


def _returned(name: str) -> Callable[[Call], bool]:
    return lambda call: _has(name, call.result)


def _on_topic(name: str) -> Callable[[Call], bool]:
    return lambda call: str(call.arguments[0]).startswith(f"{name}/")


def _is_movement(call: Call) -> bool:
    return type(call.arguments[1]).__name__ == "MoveRelay"


def _has_closed(call: Call) -> bool:
    return any(one.outcome == "closed" for one in call.arguments[0])


_IN_ONE_COMMIT = "in this design posting, decision, command, counter and signature are one commit"

_INTAKE = (
    Point(
        name="G1", part="intake", place="cloud.intake.server:_body", moment=Moment.AFTER,
        leaves=(Stage.ASKED, Stage.SPOOLED),
        on_disk="nothing of the report",
        not_yet="verified; the provider hears no answer and repeats",
    ),
    Point(
        name="G2", part="intake", place="cloud.intake.writing:ReportWriter.submit",
        moment=Moment.BEFORE, leaves=(Stage.ASKED, Stage.SPOOLED),
        on_disk="nothing of the report",
        not_yet="stored, though verified and read; the provider repeats",
    ),
    Point(
        name="G3", part="intake", place="cloud.intake.spool:Spool.commit", moment=Moment.AFTER,
        leaves=(Stage.SPOOLED, Stage.ANSWERED),
        on_disk="the report and its numbered items, fsynced in the spool",
        not_yet="answered: the provider repeats what is stored already",
    ),
    Point(
        name="G4", part="intake", place="cloud.intake.process:_Intake._stored",
        moment=Moment.BEFORE_AND_SENT, passes=(Stage.SPOOLED, Stage.ANSWERED),
        leaves=(Stage.ANSWERED, Stage.POSTED),
        on_disk="the report in the spool; the provider has its 200 and never comes back",
        not_yet="published: only the spool knows of it",
    ),
    Point(
        name="G5", part="intake", place="wire.link:Link.send", moment=Moment.AFTER_AND_SENT,
        is_meant=_on_topic("payment"), passes=(Stage.SPOOLED, Stage.POSTED),
        leaves=(Stage.SPOOLED, Stage.RECEIPTED),
        on_disk="the report in the spool, without receipt",
        not_yet="known to have arrived anywhere: it is published again after the restart",
    ),
    Point(
        name="G6", part="intake", place="wire.link:Link.send", moment=Moment.ANSWERED,
        is_meant=_on_topic("payment"), passes=(Stage.SPOOLED, Stage.POSTED),
        leaves=(Stage.SPOOLED, Stage.RECEIPTED),
        on_disk="the report in the spool, without receipt; a PUBACK changes nothing on disk",
        not_yet="receipted: it is published again after the restart",
    ),
)  # fmt: skip
_ENGINE = (
    Point(
        name="E1", part="engine", place="cloud.engine:Engine.turn", moment=Moment.BEFORE,
        is_meant=_delivered("payment"), leaves=(Stage.ANSWERED, Stage.POSTED),
        on_disk="nothing in the ledger; the report in the spool",
        not_yet="acknowledged to the broker, which delivers again; so does the intake",
    ),
    Point(
        name="E2", part="engine", place="cloud.payments:take", moment=Moment.AFTER,
        leaves=(Stage.ANSWERED, Stage.POSTED),
        on_disk="nothing in the ledger: the transaction is open",
        not_yet="committed, though payment and entries are written",
    ),
    Point(
        name="E3", part="engine", place="cloud.engine:Engine.turn", moment=Moment.AFTER,
        is_meant=_delivered("payment"), leaves=(Stage.COMMANDED, Stage.RECEIVED),
        on_disk="payment, entries, decision, and the command with counter and signature",
        not_yet="acknowledged to the broker: all of the turn is delivered again",
    ),
    Point(
        name="E4", part="engine", place="cloud.engine_process:EngineProcess._send",
        moment=Moment.BEFORE_AND_SENT, is_meant=lambda call: _has("receipt", call.arguments[0]),
        leaves=(Stage.COMMANDED, Stage.RECEIVED),
        on_disk="the same; the broker was told, and forgets the delivery",
        not_yet="sent: neither receipt nor command has left",
    ),
    Point(
        name="E5", part="engine", place="cloud.outbox:queue", moment=Moment.AFTER,
        is_meant=lambda call: bool(call.arguments[1]), leaves=(Stage.ANSWERED, Stage.POSTED),
        on_disk=f"nothing in the ledger: {_IN_ONE_COMMIT}",
        not_yet="committed, though the decision and the queued command are written",
    ),
    Point(
        name="E6", part="engine", place="cloud.publisher:fill", moment=Moment.AFTER,
        is_meant=lambda call: bool(call.result), leaves=(Stage.ANSWERED, Stage.POSTED),
        on_disk=f"nothing in the ledger: {_IN_ONE_COMMIT}",
        not_yet="committed, though the counter is taken and the command signed; both are lost",
    ),
    Point(
        name="E7", part="engine", place="cloud.engine:Engine.turn", moment=Moment.AFTER,
        is_meant=_returned("command"), leaves=(Stage.COMMANDED, Stage.RECEIVED),
        on_disk="the signed command, as published (the commit of E3, met by its commands)",
        not_yet="sent: the outbox sends the same bytes again",
    ),
    Point(
        name="E8", part="engine", place="wire.link:Link.send", moment=Moment.AFTER_AND_SENT,
        is_meant=_on_topic("command"), passes=(Stage.COMMANDED, Stage.RECEIVED),
        leaves=(Stage.RECEIVED, Stage.FILED),
        on_disk="the signed command, as published",
        not_yet="known to have arrived: the outbox sends the same bytes again",
    ),
    Point(
        name="E9", part="engine", place="cloud.engine:Engine.turn", moment=Moment.BEFORE,
        is_meant=_delivered("acknowledgement"), leaves=(Stage.FINISHED, Stage.FILED),
        on_disk="nothing of the outcome in the ledger; it stands in the agent's journal",
        not_yet="filed: broker and agent send it again",
    ),
    Point(
        name="E10", part="engine", place="cloud.engine:Engine.turn", moment=Moment.AFTER,
        is_meant=_delivered("acknowledgement"), leaves=(Stage.FILED, Stage.MARKED),
        on_disk="the filed item, the ended command and episode",
        not_yet="told to the agent, which sends its items again",
    ),
)  # fmt: skip
_AGENT = (
    Point(
        name="A1", part="agent", place="edge_agent.agent:Agent.receive", moment=Moment.BEFORE,
        is_meant=_delivered("command"), leaves=(Stage.COMMANDED, Stage.RECEIVED),
        on_disk="nothing of the command in the journal",
        not_yet="verified; the hello of the new boot does not name it, so a new one is decided",
    ),
    Point(
        name="A2", part="agent", place="edge_agent.commands:verify", moment=Moment.AFTER,
        is_meant=lambda call: type(call.result).__name__ == "Accept",
        leaves=(Stage.COMMANDED, Stage.RECEIVED),
        on_disk="nothing of the command in the journal",
        not_yet="journaled, though it was found genuine and fresh",
    ),
    Point(
        name="A3", part="agent", place="edge_agent.agent:Agent.receive", moment=Moment.AFTER,
        is_meant=_delivered("command"), leaves=(Stage.RECEIVED, Stage.ACTING),
        on_disk="journal `received`, fsynced",
        not_yet="acted upon; the hello of the new boot names it and it goes on",
    ),
    Point(
        name="A3+", part="agent", place="edge_agent.host:Host._fulfil", moment=Moment.BEFORE,
        is_meant=_is_movement, leaves=(Stage.ACTING, Stage.TOLD),
        on_disk="journal `actuating`, fsynced",
        not_yet="told to the meter: read back after the restart, then told for the first time",
    ),
    Point(
        name="A4", part="agent", place="edge_agent.host:Host._fulfil", moment=Moment.AFTER,
        is_meant=_is_movement, leaves=(Stage.TOLD, Stage.FINISHED),
        on_disk="journal `actuating`; the meter has acted",
        not_yet="read back: done after the restart, and the meter is not told again",
    ),
    Point(
        name="A5", part="agent", place="edge_agent.agent:Agent.finish", moment=Moment.BEFORE,
        is_meant=_has_closed, leaves=(Stage.TOLD, Stage.FINISHED),
        on_disk="journal `actuating`; the contact was read back as closed",
        not_yet="journaled: read back once more after the restart",
    ),
    Point(
        name="A6", part="agent", place="edge_agent.agent:Agent.finish", moment=Moment.AFTER,
        is_meant=_has_closed, leaves=(Stage.FINISHED, Stage.FILED),
        on_disk="journal `outcome` and its numbered item, fsynced",
        not_yet="sent: the item goes out after the next welcome",
    ),
    Point(
        name="A7", part="agent", place="wire.link:Link.send", moment=Moment.AFTER_AND_SENT,
        is_meant=_on_topic("acknowledgement"), passes=(Stage.FINISHED, Stage.FILED),
        leaves=(Stage.FILED, Stage.MARKED),
        on_disk="journal `outcome`; the acknowledgement is under way",
        not_yet="known to be filed: sent again after the next welcome",
    ),
    Point(
        name="A8", part="agent", place="edge_agent.agent:Agent.receive", moment=Moment.AFTER,
        is_meant=_delivered("filed"), leaves=(Stage.MARKED, Stage.NEVER),
        on_disk="journal: filed up to this item",
        not_yet="acknowledged to the broker: the mark comes again and changes nothing",
    ),
)  # fmt: skip

POINTS: Sequence[Point] = (*_INTAKE, *_ENGINE, *_AGENT)


def point_named(name: str) -> Point:
    """The point of that name."""
    return next(one for one in POINTS if one.name == name)
