"""Whom an agent believes: trust documents (R12), and steps 1 to 7 for what arrives.

The middle of the tutorial, between plain_wire.py and plain_agent.py. Everything here is pure.
"""

# ruff: noqa: INP001  # an example is a script

import hashlib
from typing import Any, NamedTuple

from plain_wire import JunkError, fields, is_usable, key_id, opened, signed_bytes, verified

# 1. Trust documents: root documents in their order, then the registry; all of it or nothing.


class Trust(NamedTuple):
    """What is believed: the newest root, and the registry under it."""

    root: list[Any]
    is_production: bool
    roots: tuple[bytes, ...] = ()  # the envelopes of all root documents after the first
    registry: list[Any] | None = None
    envelope: bytes = b""  # the registry's

    @property
    def version(self) -> int:
        """The registry's; 0: none."""
        return self.registry[1] if self.registry else 0


def anchored(first_root: bytes, pin: bytes, *, is_production: bool) -> Trust:
    """Root document 1, whose digest was handed over out of band."""
    root = fields("root", opened(first_root)[0])
    signed = signed_bytes(root[1], "root", opened(first_root)[0])
    if hashlib.sha256(signed).digest() != pin or root[2] != 1:
        raise JunkError("root document 1 is not the pinned one")
    _demand_root(root, first_root, root)
    return Trust(root, is_production)


def believed(held: Trust, payload: bytes, latest: int | None) -> Trust:
    """What is believed after a trust message; JunkError: as before, and "forked" is an alarm."""
    _, roots, registry = fields("trust", payload)
    if len(payload) > 32_768 or len(registry) > 16_384:
        raise JunkError("trust: size")
    root = held.root
    for envelope in roots[len(held.roots) :]:
        following = fields("root", opened(envelope)[0])
        if following[1:3] != [root[1], root[2] + 1]:
            raise JunkError("not the next root document of this installation")
        _demand_root(root, envelope, following)
        _demand_root(following, envelope, root)
        root = following
    text = _demand_signed(root, "registry", registry, root)
    value = fields("registry", text)
    if held.registry and value[1] == held.registry[1]:
        raise JunkError("nothing new" if text == opened(held.envelope)[0] else "forked")
    _, version, root_version, issued, expires, _, keys, _ = value
    publics = [one[0] for one in (*keys, *root[5])]  # a root's key is never an online one
    if version <= held.version or root_version != root[2] or expires - issued > 60 * 86_400_000:
        raise JunkError("registry: older, of another root, or for too long")
    if latest is not None and expires <= latest:
        raise JunkError("registry: expired")
    if held.is_production and any(one[7] == "development" for one in keys):
        raise JunkError("registry: development keys")
    if len(set(publics)) < len(publics) or not all(map(is_usable, publics)):
        raise JunkError("registry: a key twice, or one of small order")
    kept = (*held.roots, *roots[len(held.roots) :])
    return Trust(root, held.is_production, kept, value, registry)


def _demand_signed(root: list[Any], kind: str, envelope: bytes, also: list[Any]) -> bytes:
    """Every signature is of a key of one of the two roots; enough are of the first one's."""
    body = verified(root[1], kind, envelope, [one[0] for one in (*root[5], *also[5])])
    if len({key_id(one[0]) for one in root[5]} & set(opened(envelope)[1])) < root[4]:
        raise JunkError(f"{kind}: too few of the root's keys signed")
    return body


def _demand_root(root: list[Any], envelope: bytes, also: list[Any]) -> None:
    publics = [one[0] for one in root[5]]
    if len(set(publics)) < len(publics) or not all(map(is_usable, publics)):
        raise JunkError("root document with a key twice, or one of small order")
    _demand_signed(root, "root", envelope, also)


def is_in_windows(policy: list[Any], earliest: int, latest: int) -> bool:
    """Whether every minute from earliest to latest lies in a window of a day that is not closed."""
    for minute in range(earliest // 60_000, latest // 60_000 + 1):
        day, at = divmod(minute + policy[4] - 720, 1_440)
        is_in = any(w[0] >> (day + 3) % 7 & 1 and w[1] <= at < w[2] for w in policy[5])
        if day in policy[6] or not is_in:
            return False
    return True


# 2. Steps 1 to 7 for what an agent receives.

LIMITS = dict.fromkeys(("welcome", "command", "filed", "stop", "resume"), 512)
ROLES = {
    "welcome": (["engine"], ["time"]),
    "command": (["engine"], ["engine", "guard"]),
    "filed": (["engine"],),
    "stop": (["stop"], ["approver"], ["guard"], ["engine"]),
    "resume": (["approver", "approver"],),
}


class UnknownKeyError(JunkError):
    """A key id that no registry lists: a hello asks for newer trust."""


class Message(NamedTuple):
    """A genuine message: its fields, its id, who signed."""

    kind: str
    fields: list[Any]
    id: bytes
    roles: list[str]
    epochs: set[int]


def check(topic: str, payload: bytes, trust: Trust, agent: str, latest: int | None) -> Message:
    """The message, or JunkError; retained flags and trust messages are the caller's."""
    kind, *rest = topic.split("/")
    if len(payload) > LIMITS.get(kind, 0):
        raise JunkError("size or type")
    body, signatures = opened(payload)
    listed = {key_id(one[0]): one for one in (trust.registry[6] if trust.registry else ())}
    if not set(signatures) <= set(listed):
        raise UnknownKeyError
    signers = [listed[one] for one in signatures]
    roles = sorted(one[1] for one in signers)
    is_one_person = kind == "resume" and len({one[2] for one in signers}) < 2
    if roles not in ROLES[kind] or is_one_person:
        raise JunkError("roles")
    verified(trust.root[1], kind, payload, [one[0] for one in signers])
    value = fields(kind, body)
    at = value[4] if kind == "welcome" else latest  # a welcome brings the time itself
    if at is not None and not all(one[5] <= at < one[6] for one in signers):
        raise JunkError("a key outside its life")
    epochs = {one[4] for one in signers if one[1] in ("engine", "time")}
    if any(one < trust.registry[5] for one in epochs):
        raise JunkError("an epoch that is over")
    named = {"command": value[2:4], "stop": rest, "resume": rest}.get(kind, value[1:2])
    is_its_epoch = kind != "command" or epochs == {value[4]}
    if rest != named or rest[:1] not in ([], [agent]) or not is_its_epoch:
        raise JunkError("ids")
    digest = hashlib.sha256(signed_bytes(trust.root[1], kind, body)).digest()
    return Message(kind, value, digest[:16], roles, epochs)
