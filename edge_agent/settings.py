"""What an agent is told once, and what it hands back from every call: plain values."""

from dataclasses import dataclass, field

from edge_agent.relay import RelayJob
from wire.fields import AgentId, CommandId
from wire.keys import SigningKey
from wire.messages import WINDOW_MAX

PROTOCOL = 1  # the highest body version this agent speaks


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Who this agent is and whom it believes at first."""

    agent: AgentId
    signing_key: SigningKey = field(repr=False)
    first_root: bytes = field(repr=False)  # the envelope of root document 1
    pin: bytes  # its digest, handed over out of band with the enrolment
    is_production: bool
    window: int = 32  # outstanding commands this agent takes; 4 lines finish 32 in 6 minutes
    software: str = "relight-agent"

    def __post_init__(self) -> None:
        """Refuses a window that no hello could carry."""
        if not 1 <= self.window <= WINDOW_MAX:
            raise ValueError(f"window {self.window}: must be 1 to {WINDOW_MAX} commands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to publish."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What the rim must do now that everything behind it is committed."""

    outgoing: tuple[Outgoing, ...] = ()
    jobs: tuple[RelayJob, ...] = ()
    may_act: frozenset[CommandId] = frozenset()  # of those that asked: journaled as actuating
    move_broker: bool = False  # three hellos without a welcome: this broker swallows


NOTHING = Effects()
