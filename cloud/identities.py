"""The keys of agents: statements of the enrol role, read from a folder, the highest serial wins.

Rules kept here (R12, R16):
 * Agents' keys are many and change with hardware, so they stand outside the registry; the statement
   is signed by `enrol`, and an older serial is worth nothing, however well signed: neither beside
   the newer statement nor when somebody takes that one away.
 * One bad or foreign file is left out and told of; it takes no other agent's key away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wire.keys import KeyId
from wire.trust import Authorities, Key, TrustRefusedError, identity_key, open_identity

IDENTITY_SUFFIX = ".identity"
STATEMENT_MAX_BYTES = 1_024  # a statement is some 200 B; more is another file


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A file of the folder that gives no key, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Every agent's one valid key, the highest serial known of each, and what was left out."""

    keys: Mapping[KeyId, Key]
    serials: Mapping[str, int]
    left_out: tuple[LeftOut, ...]


def read_identities(
    folder: Path, authorities: Authorities, *, known_serials: Mapping[str, int]
) -> Identities:
    """Read the folder.

    Args:
        folder: its files `*.identity` are read.
        authorities: whose enrol keys are believed.
        known_serials: the highest serial accepted of each agent in the past.
    """
    newest: dict[str, Key] = {}
    serials = dict(known_serials)
    left_out: list[LeftOut] = []
    for path in sorted(folder.glob(f"*{IDENTITY_SUFFIX}")):
        try:
            with path.open("rb") as file:
                identity = open_identity(authorities, file.read(STATEMENT_MAX_BYTES))
        except (TrustRefusedError, OSError) as error:
            left_out.append(LeftOut(path=path, reason=str(error)))
            continue
        key, serial = identity_key(identity), identity.serial
        highest = serials.get(identity.agent, -1)
        held = newest.get(identity.agent)
        if serial > highest or (serial == highest and held is None):
            newest[identity.agent], serials[identity.agent] = key, serial
        elif serial == highest and held is not None and held.key_id != key.key_id:
            reason = f"{identity.agent} has another key with serial {serial}: enrol gives each once"
            left_out.append(LeftOut(path=path, reason=reason))
    return Identities(
        keys={key.key_id: key for key in newest.values()},
        serials=serials,
        left_out=tuple(left_out),
    )
