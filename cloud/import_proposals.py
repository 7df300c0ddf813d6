"""A file of intended opens becomes a batch: the whole file or, with every bad row named, nothing.

Rules kept here: what is wrong with the file itself stops it here; what may speak against an open
today or tomorrow (money, locks, notice, window) is asked when it is its turn, not now. One write
transaction does everything; the record of acts has who proposed it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection, select

from cloud import batches
from cloud.batches import Intended, Origin
from cloud.import_job import found
from cloud.import_rows import BadRow, BadRows, Columns, Fields, read_rows
from cloud.schema import accounts, meters, proposals
from cloud.spelling import rupees
from cloud.vocabulary import BatchState, ProposalState

COLUMNS = Columns(needed=("account_id", "meter_id", "sum", "notice_served_on", "notice_proof"))
REQUESTER_MAX = 32  # characters that a manifest has for the requester (R10)
REASON_MAX = 64  # and for the reason
PROOF_MAX = 128
_STANDING = (ProposalState.PROPOSED, ProposalState.SENT, ProposalState.QUARANTINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFile:
    """A file somebody wants proposed; a dry run does everything but commit."""

    path: Path
    requester: str
    reason: str
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What a file became, or everything that is wrong with it."""

    file: ProposalFile
    opens: int
    sum_paise: int = 0
    batch_id: int | None = None
    state: BatchState | None = None
    bad_count: int = 0
    bad: tuple[BadRow, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with the file; else nothing of it was proposed."""
        return self.bad_count == 0

    def lines(self) -> list[str]:
        """One line per bad row, then what came of the file."""
        path = self.file.path
        told = [
            f"{path}:{one.line}: {one.field + ' ' if one.field else ''}{one.value!r} {one.reason}"
            for one in self.bad
        ]
        if self.bad_count > len(self.bad):
            told.append(f"{path}: and {self.bad_count - len(self.bad)} more")
        if not self.is_good:
            return [*told, f"{path}: {self.bad_count} faults, nothing proposed: mend them all"]
        said = f"{self.opens} opens, {rupees(self.sum_paise)} demanded, {self.state}"
        if self.file.is_dry_run:
            return [f"{path}: {said} (dry run: nothing was written)"]
        return [f"{path}: batch {self.batch_id}: {said}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    line: int
    intended: Intended


def propose(
    store: sqlalchemy.Engine,
    file: ProposalFile,
    *,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
) -> Proposed:
    """Make a batch of a file, or say everything that is wrong with it.

    Raises:
        OSError: the file cannot be read.
        ValueError: nobody asks, or gives no reason.
    """
    _demand("--by", file.requester, REQUESTER_MAX)
    _demand("--reason", file.reason, REASON_MAX)
    bad = BadRows()
    read = read_rows(file.path, COLUMNS, _make, bad)
    wanted = [row.intended for row in read.rows]
    batch_id = state = None
    with store.connect() as connection, connection.begin() as transaction:
        _check(connection, read.rows, bad, now_ms)
        if not bad.count:
            origin = Origin(requester=file.requester, reason=file.reason, batch=random_bytes(16))
            batch_id, state = batches.begin(connection, origin, wanted, now_ms=now_ms)
        if bad.count or file.is_dry_run:
            transaction.rollback()
    return Proposed(
        file=file,
        opens=read.count,
        sum_paise=sum(one.sum_paise for one in wanted),
        batch_id=batch_id,
        state=state,
        bad_count=bad.count,
        bad=tuple(sorted(bad.kept, key=lambda one: one.line)),
    )


def _demand(option: str, value: str, most: int) -> None:
    """What approvers will sign: as the wire can carry it."""
    if not value.strip() or len(value) > most or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{option} {value!r} must be 1 to {most} printable ASCII characters")


def _make(fields: Fields) -> _Row:
    proof = fields.text("notice_proof")
    if not proof.strip() or len(proof) > PROOF_MAX or not (proof.isascii() and proof.isprintable()):
        fields.refuse("notice_proof", f"is no proof: 1 to {PROOF_MAX} printable ASCII characters")
    return _Row(
        line=fields.line,
        intended=Intended(
            account_id=fields.identifier("account_id"),
            meter_id=fields.identifier("meter_id"),
            sum_paise=fields.rupees("sum"),
            notice_served_at_ms=fields.day("notice_served_on"),
            notice_proof=proof,
        ),
    )


def _check(connection: Connection, rows: Sequence[_Row], bad: BadRows, now_ms: int) -> None:
    _refuse_repeats([(row.line, row.intended.account_id) for row in rows], "account_id", bad)
    _refuse_repeats([(row.line, row.intended.meter_id) for row in rows], "meter_id", bad)
    account_ids = [row.intended.account_id for row in rows]
    meter_ids = [row.intended.meter_id for row in rows]
    known = found(connection, select(accounts.c.account_id), accounts.c.account_id, account_ids)
    query = select(meters.c.meter_id, meters.c.account_id)
    measured = found(connection, query, meters.c.meter_id, meter_ids)
    standing = found(
        connection,
        select(proposals.c.meter_id, proposals.c.batch_id, proposals.c.state).where(
            proposals.c.state.in_([state.value for state in _STANDING])
        ),
        proposals.c.meter_id,
        meter_ids,
    )
    for row in rows:
        one = row.intended
        _check_account(row, known, bad)
        meter = measured.get(one.meter_id)
        if meter is None:
            bad.add(row.line, "meter_id", one.meter_id, "is no known meter: import it first")
        elif meter.account_id != one.account_id:
            reason = f"measures account {meter.account_id}, not {one.account_id}"
            bad.add(row.line, "meter_id", one.meter_id, reason)
        other = standing.get(one.meter_id)
        if other is not None:
            reason = f"is {other.state} in batch {other.batch_id} already"
            bad.add(row.line, "meter_id", one.meter_id, reason)
        if one.notice_served_at_ms > now_ms:
            bad.add(row.line, "notice_served_on", one.account_id, "was served in the future")


def _check_account(row: _Row, known: Collection[str], bad: BadRows) -> None:
    account_id = row.intended.account_id
    if account_id not in known:
        bad.add(row.line, "account_id", account_id, "is no known account: import accounts first")


def _refuse_repeats(named: Sequence[tuple[int, str]], name: str, bad: BadRows) -> None:
    first: dict[str, int] = {}
    for line, value in named:
        if value in first:
            bad.add(line, name, value, f"stands in line {first[value]} already")
        else:
            first[value] = line
