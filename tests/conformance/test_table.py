"""The spoiled messages of the table are spoiled in the way that their rows say, and in no other."""

import pytest

from edge_agent.conformance.engine import Engine
from edge_agent.conformance.installation import new_installation
from edge_agent.conformance.junk_cases import ROWS
from tests.edge_agent.installation_by_hand import NOON_MS, Delivered
from wire.checking import Checked, Junk, check
from wire.decoding import decode_trust
from wire.fields import AgentId
from wire.trust import accept, anchor

AGENT = AgentId("A1")


class Bytes:
    """Random bytes that count."""

    def __init__(self):
        self.count = 0

    def __call__(self, size):
        self.count += 1
        return self.count.to_bytes(size, "big")


@pytest.fixture
def engine():
    return Engine(new_installation(AGENT, Bytes()), None, lambda: NOON_MS)


def judged(engine, message):
    held = anchor(engine.installation.first_root(), engine.installation.pin())
    documents = decode_trust(engine.trust)
    found = accept(held, documents, latest_ms=NOON_MS, is_production=True)
    delivered = Delivered(message.topic, message.payload)
    return check(delivered, found.keyring(), at_ms=NOON_MS, receiver=AGENT)


@pytest.mark.parametrize("name", ROWS)
def test_junk_row_is_junk_at_the_step_it_names(name, engine):
    rule, _, spoil = ROWS[name]
    found = judged(engine, spoil(engine))
    assert isinstance(found, Junk)
    if rule.startswith("step"):
        # An agent's own key and an unknown one are both not in the registry: step 4.
        assert f"step {found.step}" == rule


def test_command_that_is_not_spoiled_passes(engine):
    assert isinstance(judged(engine, engine.command("close", "METER-5")), Checked)
    assert isinstance(judged(engine, engine.command("open", "METER-5")), Checked)


def test_next_root_document_is_accepted(engine):
    registry = engine.installation.registry(NOON_MS, registry_version=2, root_version=2)
    roots = engine.installation.next_root()
    engine.new_registry(registry, roots=roots, signer="root-next")
    assert isinstance(judged(engine, engine.command("close", "METER-5")), Checked)
