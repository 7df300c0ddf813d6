"""The keys of agents: statements of the enrol role, read from a folder, the highest serial wins.

Agents' keys are many and change with hardware, so they stand outside the registry; the statement is
signed by `enrol`, and an older serial is worth nothing, however well signed (R12, R16).
"""

from collections.abc import Mapping
from pathlib import Path

from wire.keys import KeyId
from wire.trust import Authorities, Key, TrustRefusedError, identity_key, open_identity

IDENTITY_SUFFIX = ".identity"


def read_identities(folder: Path, authorities: Authorities, *, at_ms: int) -> Mapping[KeyId, Key]:
    """Every agent's one valid key.

    Raises:
        TrustRefusedError: a statement that is not enrol's, with its file.
    """
    newest: dict[str, tuple[int, Key]] = {}
    for path in sorted(folder.glob(f"*{IDENTITY_SUFFIX}")):
        try:
            identity = open_identity(authorities, path.read_bytes(), at_ms=at_ms)
        except TrustRefusedError as error:
            raise TrustRefusedError(f"{path}: {error}") from None
        serial, _ = newest.get(identity.agent, (-1, None))
        if identity.serial > serial:
            newest[identity.agent] = (identity.serial, identity_key(identity))
    return {key.key_id: key for _, key in newest.values()}
