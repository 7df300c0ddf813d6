"""Commands that need an agent's state, judged by the agent's pure verification (I5, I7)."""

import pytest

from edge_agent.clock import TimeView
from edge_agent.verification import (
    Accept,
    CommandFacts,
    ManifestFacts,
    NotNow,
    OpeningFacts,
    Refusal,
    verify,
)
from tests.wire import vectors
from wire.checking import check
from wire.messages import Counter
from wire.topics import MessageType, parse

COMMANDS = [
    row
    for row in vectors.negative("agent")
    if parse(row["topic"]).message_type is MessageType.COMMAND
]


def counter(pair):
    return Counter(epoch=pair[0], sequence_ms=pair[1]) if pair else None


def time_of(state):
    if not state["has_welcome"]:
        return None
    return TimeView(
        earliest_ms=state["earliest_ms"],
        latest_ms=state["latest_ms"],
        age_ms=state["welcome_age_ms"],
        is_disputed=state["is_time_disputed"],
    )


def manifest(state, command):
    for one in state["manifests"]:
        if one["manifest"] == command.manifest:
            return ManifestFacts(
                held_for_ms=one["held_for_ms"],
                expires_at_ms=one["expires_at_ms"],
                names_meter=command.meter in one["meters"],
                is_used=command.meter in one["used"],
            )
    return None


def opening(state, command):
    same = ("registry_version", "registry_expires_at_ms", "welcome_trust_version", "running_ms")
    same += ("since_close_ms", "meter_opens", "agent_opens", "reached")
    return OpeningFacts(
        policy=vectors.authorities().registry.policy,
        is_stopped=state["stop_ms"] > state["lifted_ms"],
        is_protected=command.meter in state["protected_meters"],
        manifest=manifest(state, command),
        **{name: state[name] for name in same},
    )


def facts(state, command, roles):
    return CommandFacts(
        time=time_of(state),
        finished_item=None,
        is_unfinished=False,
        outstanding=state["outstanding"],
        window=state["window"],
        is_journal_full=False,
        floor=counter(state["floor"]),
        highest=counter(state["highest"]),
        is_meter_known=command.meter in state["known_meters"],
        is_guarded=command.meter in state["guarded_meters"],
        roles=roles,
        opening=opening(state, command) if command.action in ("open", "disarm") else None,
    )


def spelled(verdict):
    """A verdict as the vectors spell it."""
    if isinstance(verdict, Refusal):
        return {"refused": verdict.reason}
    return {Accept: {"accepted": True}, NotNow: {"not_now": True}}[type(verdict)]


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row["name"])
def test_agent_judges_a_command_as_the_vector_says(row):
    state = {**vectors.states()["agent"], **row.get("given", {})}
    checked = check(
        vectors.message(row), vectors.keyring(), at_ms=row["at_ms"], receiver=row["receiver"]
    )
    verdict = verify(checked.message, facts(state, checked.message, checked.roles))
    assert spelled(verdict) == row["verdict"]


def test_there_are_commands_to_judge():
    assert len(COMMANDS) >= 40
