"""Signed webhooks of any source: is one genuine, and what does it say (docs/webhooks.md).

Rules kept here:
 * `Relight-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`. Several `v1` may stand,
   several secrets may be live, so that either side changes its secret without losing a report.
   Schemes we do not know are ignored; a header that is spelled in any other way is refused.
 * A time outside the tolerance is refused, so a recording is worth nothing a few minutes later.
 * The body is one JSON object of exactly the documented keys; what differs is kept for a person.
"""

import hmac
import re
from dataclasses import dataclass, field

from cloud.intake.facts import Fact, Reading, Unreadable
from cloud.intake.provider import SettingsError, Signature
from cloud.intake.strict_json import Object, ShapeError, integer, parse, text_of
from wire.fields import INTEGER_LIMIT, MILLISECOND_LIMIT, ProviderId
from wire.topics import is_id
from wire.vocabulary import PaymentKind

SECRETS_MAX = 4  # each costs an HMAC of every body; two are enough for a change
SECRET_CHARACTERS_MIN = 16  # what is shorter is guessed
TOLERANCE_S = 300  # for clocks and slow lines; what is recorded is worthless after it
TOLERANCE_MAX_S = 3_600
HEADER_CHARACTERS_MAX = 1_024  # some 14 signatures; a longer one is somebody's attempt

_PART = re.compile(r"([a-z][a-z0-9_]{0,15})=([!-+\--~]{1,256})")
_TIME = re.compile(r"[0-9]{1,12}")
_HEX = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[!-~]{1,64}")  # an id: printable, no space
_CURRENCY = re.compile(r"[A-Z]{3}")
_METHOD = re.compile(r"[a-z_]{0,16}")
_REQUIRED = frozenset(
    {"object_id", "kind", "payment_id", "amount_paise", "currency", "happened_at_ms"}
)
_OPTIONAL = frozenset({"account", "order", "method"})
_KINDS = {kind.value: kind for kind in PaymentKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A source that signs as docs/webhooks.md says (`cloud.intake.provider`).

    Attributes:
        name: its id in topics, scopes and the ledger.
        secrets: the live ones, any of which may have signed.
        tolerance_s: how far its clock may be from ours.
    """

    name: ProviderId
    secrets: tuple[str, ...] = field(repr=False)
    tolerance_s: int = TOLERANCE_S
    signature_header: bytes = b"relight-signature"
    event_id_header: bytes = b""  # none: the signed body names its fact
    needs_person: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuses what could keep nobody out, or could never be forwarded.

        Raises:
            SettingsError: with the name and the value.
        """
        where = f"[intake.signed.{self.name}]"
        if not is_id(self.name):
            raise SettingsError(f"{where}: a provider's name is 1 to 32 of A-Z, 0-9, - in capitals")
        if not 1 <= len(self.secrets) <= SECRETS_MAX:
            raise SettingsError(
                f"{where} secrets: {len(self.secrets)} given; give 1 to {SECRETS_MAX}"
            )
        if any(len(secret) < SECRET_CHARACTERS_MIN for secret in self.secrets):
            raise SettingsError(
                f"{where} secrets: one has fewer than {SECRET_CHARACTERS_MIN} characters; "
                "make one with: openssl rand -hex 32"
            )
        if not 1 <= self.tolerance_s <= TOLERANCE_MAX_S:
            raise SettingsError(
                f"{where} tolerance_s: {self.tolerance_s}; give 1 to {TOLERANCE_MAX_S}"
            )

    def judge(self, raw: bytes, signature: str, now_ms: int, /) -> Signature:
        """Whether one of the header's signatures is of `raw`, at about this time."""
        if not signature:
            return Signature.MISSING
        parts = _parts(signature)
        if parts is None:
            return Signature.WRONG
        time_text, signatures = parts
        if not _is_any(raw, time_text, signatures, self.secrets):
            return Signature.WRONG
        # After the signature: only to its maker do we tell how our clock stands.
        if abs(int(time_text) * 1_000 - now_ms) > self.tolerance_s * 1_000:
            return Signature.STALE
        return Signature.GENUINE

    def read_report(self, raw: bytes) -> Reading:
        """What a genuine report says; never raises."""
        try:
            return (_fact(parse(raw)),)
        except ShapeError as error:
            return Unreadable(str(error))


def signature_header(raw: bytes, secret: str, time_s: int) -> str:
    """The header that a sender with this secret sends."""
    return f"t={time_s},v1={_digest(raw, str(time_s), secret)}"


def _parts(header: str) -> tuple[str, list[str]] | None:
    """The time and every `v1` of a header; None when it is not spelled as it must be."""
    if len(header) > HEADER_CHARACTERS_MAX:
        return None
    times, signatures = [], []
    for part in header.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            return None
        scheme, value = match.groups()
        if scheme == "t":
            times.append(value)
        elif scheme == "v1":
            signatures.append(value)
    is_good = (
        len(times) == 1
        and _TIME.fullmatch(times[0]) is not None
        and bool(signatures)
        and all(_HEX.fullmatch(one) is not None for one in signatures)
    )
    return (times[0], signatures) if is_good else None


def _is_any(raw: bytes, time_text: str, signatures: list[str], secrets: tuple[str, ...]) -> bool:
    """Whether any signature is that of any secret; a pair differs in constant time."""
    made = [_digest(raw, time_text, secret) for secret in secrets]
    return any(hmac.compare_digest(one, mine) for one in signatures for mine in made)


def _digest(raw: bytes, time_text: str, secret: str) -> str:
    return hmac.digest(secret.encode(), time_text.encode() + b"." + raw, "sha256").hex()


def _fact(report: Object) -> Fact:
    missing = _REQUIRED - report.keys()
    if missing:
        raise ShapeError(f"{min(missing)} is missing")
    if not report.keys() <= _REQUIRED | _OPTIONAL:
        # A key we do not know may change the meaning of those we know.
        raise ShapeError("a key that is not documented")
    kind = report["kind"]
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ShapeError(f"kind is none of {', '.join(_KINDS)}")
    amount_paise = integer(report["amount_paise"], "amount_paise", INTEGER_LIMIT)
    if amount_paise == 0:
        raise ShapeError("amount_paise is 0")
    return Fact(
        kind=_KINDS[kind],
        object_id=text_of(report, "object_id", _WORD),
        payment_id=text_of(report, "payment_id", _WORD),
        account_hint=_account(report),
        order=None if report.get("order") is None else text_of(report, "order", _WORD),
        amount_paise=amount_paise,
        currency=text_of(report, "currency", _CURRENCY),
        happened_at_ms=integer(report["happened_at_ms"], "happened_at_ms", MILLISECOND_LIMIT),
        method="" if report.get("method") is None else text_of(report, "method", _METHOD),
    )


def _account(report: Object) -> str | None:
    account = report.get("account")
    if account is None:
        return None
    if not isinstance(account, str) or not is_id(account):
        raise ShapeError("account is no id: 1 to 32 of A-Z, 0-9 and -, not first a -")
    return account
