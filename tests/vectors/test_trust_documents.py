"""The documents of the vectors at the processes that hold them.

An agent that knows a time holds a registry, because a welcome is signed by one of its keys. So the
cases that are shown to a holder of root 1 and of a time are shown to an agent whose registry, older
than all of the vectors, stands under root 1.
"""

import pytest

from cloud.identities import read_identities
from tests.vectors import rows
from tests.vectors.agent_world import AgentWorld, state_of, trust_message
from tests.wire import installation, vectors
from tests.wire.vectors import Message
from wire.decoding import encode
from wire.documents import Registry, RegistryKey, Trust
from wire.keys import is_acceptable_public_key
from wire.messages import AlarmItem
from wire.trust import TrustRefusedError

OLD_VERSION = 5


def old_registry(*, extra=()):
    """A registry of production keys under root 1, with the engine that welcomes."""
    engine = installation.registry_key("engine", installation.REGISTERED["engine"])
    keys = (unmarked(engine), *extra)
    registry = Registry(
        registry_version=OLD_VERSION,
        root_version=1,
        issued_at_ms=installation.NOW_MS - 20 * installation.DAY_MS,
        expires_at_ms=installation.NOW_MS + installation.DAY_MS,
        epoch_floor=installation.EPOCH,
        keys=keys,
        policy=installation.POLICY,
    )
    envelope = installation.sealed("registry", encode(registry), "root-1")
    return encode(Trust(roots=(), registry=envelope))


def unmarked(entry):
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return RegistryKey(**{**fields, "mark": ""})


def world_of(row, path):
    knows_time = row["latest_ms"] is not None
    held = {"root 1": old_registry() if knows_time else b"", "registry 7": trust_message()}
    given = {"has_welcome": knows_time, "latest_ms": row["latest_ms"] or installation.NOW_MS}
    return AgentWorld(
        state_of({}, **given),
        path=path / "journal.db",
        trust=held[row["held"]],
        is_production=row["is_production"],
    )


def held_version(world):
    world.keep(world.agent.connected())
    return world.hellos[-1].trust_version


TRUST = rows.documents("trust")


@pytest.mark.parametrize("topic", ["trust", "trust/AG-INDORE-0417"])
@pytest.mark.parametrize("row", TRUST, ids=rows.name_of)
def test_agent_believes_a_trust_message_as_the_vector_says_and_keeps_it(row, topic, tmp_path):
    """R12: all or nothing, stored before it is used, held after a restart as before it."""
    world = world_of(row, tmp_path)
    version, before, items = held_version(world), world.rows(), world.agent.journal.made
    world.deliver(Message(topic, row["payload"], is_retained=topic == "trust"))
    is_accepted = row["verdict"] == "accepted"
    expected = 7 if is_accepted else version
    assert held_version(world) == expected
    stored = world.agent.journal.standing.trust
    world.restart()
    assert held_version(world) == expected
    assert world.agent.journal.standing.trust == stored
    if is_accepted:
        assert stored == row["payload"]
        assert not world.agent.junk
    elif row["name"] == "registry-in-two-versions":
        codes = [one.code for one in world.told() if isinstance(one, AlarmItem)]
        assert codes == ["trust_forked"]
        assert world.agent.journal.made == items + 1
    else:
        assert without_boot(world.rows()) == without_boot(before)
    assert world.moves == 0
    world.agent.journal.close()


def without_boot(dumped):
    """All rows, the standing without its boot and running time, which every start changes."""
    standing = next(one for one in dumped if one.startswith('INSERT INTO "standing"'))
    cells = standing.partition("VALUES(")[2].split(",")
    return [one for one in dumped if one != standing], cells[:3] + cells[5:]


@pytest.mark.parametrize("row", TRUST, ids=rows.name_of)
def test_refused_trust_message_is_counted_as_junk(row, tmp_path):
    world = world_of(row, tmp_path)
    world.deliver(Message("trust", row["payload"]))
    is_counted = row["verdict"] != "accepted" and row["name"] != "registry-in-two-versions"
    assert world.agent.junk == ({"trust": 1} if is_counted else {})
    world.agent.journal.close()


def test_registry_believed_before_any_time_is_judged_at_the_welcome():
    """I11: expired, it opens nothing; closes go on."""
    (row,) = [one for one in TRUST if one["name"] == "expired-no-time-known"]
    state = state_of({}, has_welcome=False)
    world = AgentWorld(state, trust=row["payload"], open_relays=state["known_meters"][:1])
    world.deliver(vectors.message(vectors.envelope("welcome")))
    told = {}
    for name in ("command-close", "command-open"):
        world.deliver(vectors.message(vectors.envelope(name)))
        (item,) = world.finals(vectors.envelope(name)["digest"][:16])
        told[name] = (item.outcome, item.reason)
    assert told["command-close"] == ("closed", None)
    assert told["command-open"] == ("refused", "trust_expired")
    assert world.moves == 1


def test_trust_message_for_another_agent_is_junk(tmp_path):
    world = AgentWorld(state_of({}, has_welcome=False), path=tmp_path / "j.db", trust=b"")
    world.deliver(Message("trust/AG-INDORE-0418", trust_message()))
    assert world.agent.junk == {"ids": 1}
    assert held_version(world) == 0
    world.agent.journal.close()


@pytest.mark.parametrize("row", rows.documents("first root"), ids=rows.name_of)
def test_agent_does_not_start_on_a_first_root_that_is_not_the_pinned_one(row):
    state = state_of({}, has_welcome=False)
    with pytest.raises(TrustRefusedError):
        AgentWorld(state, first_root=row["payload"])
    assert row["verdict"] == "document_refused"


@pytest.mark.parametrize("row", rows.documents("identity"), ids=rows.name_of)
def test_engine_reads_an_identity_as_the_vector_says(row, tmp_path):
    """R12: only enrol says whose key an agent's is."""
    path = tmp_path / "agent.identity"
    path.write_bytes(row["payload"])
    found = read_identities(tmp_path, vectors.authorities(), known_serials={})
    is_accepted = row["verdict"] == "accepted"
    assert [one.subject for one in found.keys.values()] == is_accepted * [installation.AGENT]
    assert [one.path for one in found.left_out] == ([] if is_accepted else [path])


def test_agent_refuses_a_registry_with_any_small_order_key_of_the_signature_vectors(tmp_path):
    """Under such a key some libraries accept signatures that nobody made."""
    publics = {row["public"] for row in vectors.signatures()}
    bad = sorted(one for one in publics if not is_acceptable_public_key(one))
    small = {row["public"] for row in vectors.signatures() if row.get("is_small_order")}
    assert small <= set(bad)
    world = AgentWorld(state_of({}, has_welcome=False), path=tmp_path / "j.db", trust=b"")
    entry = installation.registry_key("guard", installation.REGISTERED["guard"])
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    for public in bad:
        row = RegistryKey(**{**fields, "public": public})
        world.deliver(Message("trust", old_registry(extra=(row,))))
        assert held_version(world) == 0, public.hex()
    assert world.agent.junk == {"trust": len(bad)}
    world.deliver(Message("trust", old_registry(extra=(entry,))))
    assert held_version(world) == OLD_VERSION
    world.agent.journal.close()
