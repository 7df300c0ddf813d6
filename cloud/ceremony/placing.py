"""Finished documents become a trust folder: root-1, its pin, and the documents under it.

Rules kept here: what is placed was accepted by the same code that every process and agent judges it
by; an older registry, a root that skips a version or too few signatures change nothing; files are
replaced whole.
"""

from collections.abc import Sequence
from pathlib import Path

from cloud.ceremony.draft import DocumentKind, Draft
from wire.decoding import decode_trust, encode
from wire.documents import Trust
from wire.envelope import MalformedError
from wire.key_files import write_whole
from wire.trust import Authorities, TrustRefusedError, accept, anchor


class PlacingError(ValueError):
    """Documents that may not be put in place; the folder is as it was."""


def held(folder: Path) -> Authorities | None:
    """What a trust folder holds; None before its first ceremony.

    Raises:
        PlacingError: the folder holds something that does not verify.
    """
    root_1 = folder / "root-1"
    if not root_1.exists():
        return None
    try:
        pin = bytes.fromhex((folder / "pin").read_text(encoding="ascii"))
        begun = anchor(root_1.read_bytes(), pin)
        documents = decode_trust((folder / "documents").read_bytes())
        return accept(begun, documents, latest_ms=None, is_production=False)
    except (OSError, ValueError, TrustRefusedError, MalformedError) as error:
        raise PlacingError(f"trust folder {folder}: {error}") from None


def place(folder: Path, drafts: Sequence[Draft], *, now_ms: int) -> Authorities:
    """Put a registry in place, with the root documents it needs.

    Args:
        folder: the trust folder; new at the first ceremony.
        drafts: one registry, and at the first ceremony or at a change of the root one root.
        now_ms: an expired registry is refused.

    Raises:
        PlacingError: not what belongs together, or not accepted; nothing was written.
    """
    roots = [one for one in drafts if one.kind is DocumentKind.ROOT]
    registries = [one for one in drafts if one.kind is DocumentKind.REGISTRY]
    if len(roots) > 1 or len(registries) != 1:
        raise PlacingError(
            f"{len(roots)} roots and {len(registries)} registries: one registry is placed at a"
            " time, with one root if the root is new"
        )
    before = held(folder)
    try:
        if before is None:
            if not roots:
                raise PlacingError("the first ceremony needs the root draft beside the registry")
            begun = anchor(roots[0].envelope(), roots[0].digest)
            later: tuple[bytes, ...] = ()
        else:
            begun = before
            later = (*before.later_roots, *(one.envelope() for one in roots))
        documents = Trust(roots=later, registry=registries[0].envelope())
        after = accept(begun, documents, latest_ms=now_ms, is_production=False)
    except (TrustRefusedError, MalformedError) as error:
        raise PlacingError(f"not accepted: {error}") from None
    if after is before:
        raise PlacingError("this registry is in place already")
    if before is None:
        write_whole(folder / "root-1", after.first_root)
        write_whole(folder / "pin", f"{roots[0].digest.hex()}\n".encode("ascii"))
    write_whole(folder / "documents", encode(documents))
    return after
