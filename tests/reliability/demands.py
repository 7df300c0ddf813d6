"""What must be true at rest, by the files and the true contacts: nothing lost, nothing twice.

Each demand reads for itself and names the invariant it stands for. `unrest` says what is missing
until then; the demands are made once it is empty.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tests.reliability.lasting_meters import true_movements
from tests.reliability.payers import Payers
from tests.reliability.stages import Files, Stage, reports, rows, told
from tests.walk.installation import OWED_PAISE
from tests.walk.provider import Consumer


@dataclass(frozen=True, slots=True)
class Situation:
    """The files, every consumer there is, and those who paid."""

    files: Files
    meters: dict[str, list[str]]  # agent -> its meters
    payers: Payers

    @property
    def paid(self) -> set[Consumer]:
        return self.payers.asked


def unrest(situation: Situation) -> list[str]:
    """What is still under way."""
    files, paid = situation.files, situation.paid
    found = [
        f"{len(missing)} of {len(paid)}: not yet {stage.value}"
        for stage in (Stage.RECEIPTED, Stage.POSTED, Stage.MARKED)
        if (missing := paid - files.reached(stage, paid))
    ]
    found += [
        f"{count} {what}"
        for what, query in (
            ("paid episodes not ended",
             "SELECT count(*) FROM episodes WHERE ended_at_ms IS NULL AND state <> 'open'"),
            ("commands queued or live",
             "SELECT count(*) FROM commands WHERE state IN ('queued', 'published')"),
        )
        for ((count,),) in [rows(files.ledger, query)]
        if count
    ]  # fmt: skip
    for agent, path in files.journals.items():
        ((made, filed),) = rows(
            path, "SELECT (SELECT coalesce(max(number), 0) FROM items), filed FROM standing"
        )
        if made != filed:
            found.append(f"{agent}: {made} items, {filed} known to be filed")
    return found


def demand_all(situation: Situation) -> None:
    """Everything that must be true at rest."""
    demand_reports_stored(situation)
    demand_posted_once(situation)
    demand_moved_once(situation)
    demand_commands_ended(situation)
    demand_histories_agree(situation)


def demand_reports_stored(situation: Situation) -> None:
    """I1: what was answered 2xx is there byte for byte, once, and receipted."""
    stored = Counter(raw for _, raw, _ in reports(situation.files.spool))
    paid = situation.payers
    assert paid.answered == paid.asked, "I1: the provider still repeats a report"
    for consumer in paid.answered:
        assert stored[paid.bodies[consumer]] == 1, f"I1: {consumer.payment} is not stored once"
    assert sum(stored.values()) == len(paid.asked), "I1: reports that nobody sent"
    open_items = rows(
        situation.files.spool,
        "SELECT number FROM items LEFT JOIN receipts USING (number) WHERE verdict IS NULL",
    )
    assert open_items == [], "I1: items without receipt"


def demand_posted_once(situation: Situation) -> None:
    """I2, I3: each payment once, in full; every posting balances; nobody who paid owes."""
    ledger = situation.files.ledger
    posted = rows(ledger, "SELECT payment_id, account_id, amount_paise FROM payments")
    wanted = [(one.payment, one.account, OWED_PAISE) for one in situation.paid]
    assert sorted(posted) == sorted(wanted), "I2: the payments are not those that were made"
    held = rows(ledger, "SELECT account_id, amount_paise FROM entries WHERE head = 'provider'")
    assert sorted(held) == sorted((account, paise) for _, account, paise in wanted), "I2"
    unbalanced = rows(
        ledger,
        "SELECT posting FROM entries GROUP BY posting"
        " HAVING sum(amount_paise) <> 0 OR count(*) <> 2",
    )
    assert unbalanced == [], "I3: debits are not credits"
    owed = rows(
        ledger,
        "SELECT account_id, sum(amount_paise) FROM entries WHERE head = 'receivable'"
        " GROUP BY account_id HAVING sum(amount_paise) = 0",
    )
    assert {one for one, _ in owed} == {one.account for one in situation.paid}, "I3: folds"
    verdicts = rows(
        ledger,
        "SELECT payment_id, count(*) FROM payment_items WHERE verdict = 'stored'"
        " GROUP BY payment_id",
    )
    assert sorted(verdicts) == sorted((one.payment, 1) for one in situation.paid), "I1: items"


def demand_moved_once(situation: Situation) -> None:
    """I5, I6: who paid has light, by one order and one movement; all others are as they were."""
    for agent, meters in situation.meters.items():
        path = situation.files.movements[agent]
        paid = sorted(one.meter for one in situation.paid if one.agent == agent)
        orders = sorted(meter for _, meter in told(path))
        assert orders == paid, f"I6: orders that {_difference(orders, paid)}"
        moved = sorted(true_movements(meters, path))
        assert moved == [(one, True) for one in paid], "I6: contacts moved otherwise"


def demand_commands_ended(situation: Situation) -> None:
    """I4, I6, I8, I9: every payer's relay closed once, one final word per command, all ended."""
    ledger = situation.files.ledger
    meters = sorted(one.meter for one in situation.paid)
    closed = rows(ledger, "SELECT meter_id FROM commands WHERE outcome = 'closed'")
    assert len(closed) == len(set(closed)), "I6: two commands closed one relay"
    # Whose command was void with its agent gets another one; that finds the relay closed.
    succeeded = rows(
        ledger,
        "SELECT DISTINCT meter_id FROM commands WHERE outcome IN ('closed', 'already_closed')",
    )
    assert sorted(one for (one,) in succeeded) == meters, "I8: successes"
    given = rows(ledger, "SELECT DISTINCT meter_id FROM commands")
    assert sorted(one for (one,) in given) == meters, "I4: commands nobody paid for"
    unexplained = rows(
        ledger,
        "SELECT commands.id FROM commands LEFT JOIN decisions ON digest = decision"
        " WHERE verdict IS NOT action",
    )
    assert unexplained == [], "I4: commands without their decision"
    repeated = rows(
        ledger,
        "SELECT command_id FROM filed_items WHERE kind = 'command' GROUP BY command_id"
        " HAVING count(*) > 1",
    )
    assert repeated == [], "I8: two final words on one command"
    ended = rows(ledger, "SELECT account_id FROM episodes WHERE ended_at_ms IS NOT NULL")
    wanted = sorted(one.account for one in situation.paid)
    assert sorted(one for (one,) in ended) == wanted, "I9: episodes"
    locked = rows(ledger, "SELECT account_id FROM locks WHERE cleared_at_ms IS NULL")
    assert not {one for (one,) in locked} & set(wanted), "I10: locks left over"


def demand_histories_agree(situation: Situation) -> None:
    """I3, I6, I8: ledger and journals hold the same items; each command acted at most once more."""
    for agent, path in situation.files.journals.items():
        filed = rows(
            situation.files.ledger,
            "SELECT number, item FROM filed_items JOIN journals ON journals.id = journal_id"
            f" WHERE agent_id = '{agent}' ORDER BY number",
        )
        assert filed == rows(path, "SELECT number, item FROM items ORDER BY number"), "I3"
        endless = rows(
            path,
            "SELECT command_id FROM steps GROUP BY command_id HAVING sum(step = 'outcome') <> 1",
        )
        assert endless == [], "I6: commands in the journal without one outcome"
        before = rows(
            path,
            "SELECT command_id FROM steps AS acting WHERE step = 'actuating' AND NOT EXISTS"
            " (SELECT 1 FROM steps WHERE command_id = acting.command_id AND step = 'received')",
        )
        assert before == [], "I5: acted before it was journaled"


def _difference(found: Collection[str], wanted: Iterable[str]) -> str:
    surplus, missing = Counter(found), Counter(wanted)
    return f"are surplus: {dict(surplus - missing)}, are missing: {dict(missing - surplus)}"
