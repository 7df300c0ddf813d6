"""Rows on trust documents: whose keys count, and what an agent refuses to believe (R12)."""

from edge_agent.conformance.case import Begin, Chapter
from edge_agent.conformance.engine import Engine
from edge_agent.conformance.installation import DAY_MS, NEVER, NEXT_EPOCH
from edge_agent.conformance.stage import Stage, demand
from wire.documents import Registry
from wire.vocabulary import Outcome, Role

TRUST = Chapter("trust")
_SMALL_ORDER = bytes([1]) + bytes(31)  # the neutral element: verifies what nobody signed
_HELD = "cap_meter"  # under registry 1 an open is refused for this, under policy NEVER: `window`


def _second(engine: Engine, **changes: object) -> Registry:
    """Registry 2: under its policy opens are refused `window`, so that its arrival shows."""
    values = {"registry_version": 2, "policy": NEVER, **changes}
    return engine.installation.registry(engine.now_ms, **values)


async def _is_refused(stage: Stage, payload: bytes) -> None:
    stage.engine.send_trust(payload)
    await stage.opens_are(_HELD)  # under registry 2 it would be refused for another reason


@TRUST.row(
    "registry before the welcome",
    "R12",
    "a hello of version 0: trust, then the welcome under a key of it",
    "taken; a command under its keys is answered, and the next hello shows version 1",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await stage.is_ready()
    hello = await stage.restart()
    demand(hello.trust_version == 1, f"trust_version {hello.trust_version}, not 1")


@TRUST.row(
    "newer registry",
    "R12",
    "registry 2 with another policy; killed and started again",
    "in force at once, shown by the next hello, and not forgotten",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    stage.engine.new_registry(_second(stage.engine))
    stage.engine.send_trust()
    await stage.opens_are("window")
    hello = await stage.restart()
    demand(hello.trust_version == 2, f"trust_version {hello.trust_version}, not 2")
    stage.engine.greet(hello)
    await stage.opens_are("window")


@TRUST.row(
    "older registry",
    "R12",
    "registry 2, then registry 1 again",
    "registry 2 stays in force",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    first = stage.engine.trust
    stage.engine.new_registry(_second(stage.engine))
    stage.engine.send_trust()
    stage.engine.send_trust(first)
    await stage.opens_are("window")


@TRUST.row(
    "two texts of one version",
    "R12",
    "registry 1 with another policy",
    "refused, alarm `trust_forked`",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    rival = _second(stage.engine, registry_version=1)
    stage.engine.send_trust(stage.engine.installation.trust(rival))
    await stage.alarm("trust_forked")
    await stage.opens_are(_HELD)


@TRUST.row(
    "registry that the engine signed",
    "R12",
    "registry 2 under an engine's key",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    trust = stage.engine.installation.trust(_second(stage.engine), signer="engine")
    await _is_refused(stage, trust)


@TRUST.row(
    "registry of a root that is not held",
    "R12",
    "registry 2 that names root 2 and is signed by its key, without root document 2",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    registry = _second(stage.engine, root_version=2)
    await _is_refused(stage, stage.engine.installation.trust(registry, signer="root-next"))


@TRUST.row(
    "expired registry",
    "R12",
    "registry 2, which expired yesterday",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    expired = _second(stage.engine, expires_at_ms=stage.engine.now_ms - DAY_MS // 2)
    await _is_refused(stage, stage.engine.installation.trust(expired))


@TRUST.row(
    "registry for ever",
    "R12",
    "registry 2, which lives 61 days",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    long = _second(stage.engine, expires_at_ms=stage.engine.now_ms + 60 * DAY_MS)
    await _is_refused(stage, stage.engine.installation.trust(long))


@TRUST.row(
    "development keys",
    "R12",
    "registry 2 with a key marked `development`, at a production agent",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    await _is_refused(stage, _with_key(stage.engine, mark="development"))


@TRUST.row(
    "key of small order",
    "R12",
    "registry 2 that lists a key of small order",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    await _is_refused(stage, _with_key(stage.engine, public=_SMALL_ORDER))


@TRUST.row(
    "one key twice",
    "R12",
    "registry 2 that lists the engine's key as an approver too",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    keys = stage.engine.installation.keys
    trust = _with_key(stage.engine, public=keys["engine"].public, role=Role.APPROVER)
    await _is_refused(stage, trust)


@TRUST.row(
    "root key online",
    "R12",
    "registry 2 that lists the root's key",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    keys = stage.engine.installation.keys
    await _is_refused(stage, _with_key(stage.engine, public=keys["root"].public))


@TRUST.row(
    "key without a person",
    "R12",
    "registry 2 with a key whose subject is empty",
    "refused: registry 1 stays in force",
)
async def _(stage: Stage) -> None:
    await _is_refused(stage, _with_key(stage.engine, subject=""))


@TRUST.row(
    "root is renewed",
    "R12",
    "root document 2, signed by both roots, with registry 2 under it; started again",
    "in force at once, and not forgotten",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    engine = stage.engine
    registry = _second(engine, root_version=2)
    engine.new_registry(registry, roots=engine.installation.next_root(), signer="root-next")
    engine.send_trust()
    await stage.opens_are("window")
    hello = await stage.restart()
    demand(hello.trust_version == 2, f"trust_version {hello.trust_version}, not 2")
    engine.greet(hello)
    await stage.opens_are("window")


@TRUST.row(
    "revoked key",
    "R12",
    "registry 2 without the second engine's key; a close under it",
    "junk: no answer, not moved",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    engine = stage.engine
    revoked = engine.installation.keys["engine-second"].public
    left = tuple(key for key in engine.registry.keys if key.public != revoked)
    engine.new_registry(_second(engine, keys=left))
    engine.send_trust()
    before = stage.place("METER-1")
    sent = stage.send("close", "METER-1", signers=("engine-second",))
    await stage.no_answer(sent)
    stage.moved("METER-1", before, 0)


@TRUST.row(
    "epoch floor",
    "step 7",
    "registry 2 with epoch floor 4; a close of epoch 3, and one of epoch 4",
    "junk; the other is carried out",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    engine = stage.engine
    engine.new_registry(_second(engine, epoch_floor=NEXT_EPOCH))
    engine.send_trust()
    before = stage.place("METER-1")
    old = stage.send("close", "METER-1")
    new = stage.send("close", "METER-1", epoch=NEXT_EPOCH, signers=("engine-next",))
    await stage.outcome(new, Outcome.CLOSED)
    demand(stage.found(old) is None, "the command of epoch 3 was answered")
    stage.moved("METER-1", before, 1)


@TRUST.row(
    "registry expires while it is held",
    "R12",
    "started again after the registry's end; an open and a close",
    "the open is refused `trust_expired`, the close is carried out",
    begin=Begin.FRESH,
)
async def _(stage: Stage) -> None:
    await stage.is_ready()
    hello = await stage.restart()
    stage.engine.ahead_ms = 60 * DAY_MS
    stage.engine.greet(hello)
    await stage.opens_are("trust_expired")
    before = stage.place("METER-1")
    await stage.outcome(stage.send("close", "METER-1"), Outcome.CLOSED)
    stage.moved("METER-1", before, 1)


def _with_key(engine: Engine, **changes: object) -> bytes:
    """Registry 2 whose last key is spoiled in one way."""
    spoiled = engine.installation.registry_key("intake", engine.now_ms, **changes)
    keys = (*engine.registry.keys[:-1], spoiled)
    return engine.installation.trust(_second(engine, keys=keys))
