"""What people ask for, weighed by a real engine while it runs; and what they see (I9, I10)."""

import json

from sqlalchemy import select, update

from cloud.schema import crew_tickets, episodes
from tests.walk.conftest import FAST
from tests.walk.facts import (
    commands_of,
    demand_closed_once,
    ended,
    posted,
    rows,
    until_closed,
    waiting_for,
)
from tests.walk.installation import OWED_PAISE
from tests.walk.provider import captured

BY = ("--by", "R Verma")


def test_crew_ends_what_no_command_may_close(walk):
    """Cut at the pole: the payment opens a ticket at once, the crew's word ends the episode."""
    (paying,) = walk.take(FAST, 1)
    ledger = walk.ledger()
    own = episodes.c.account_id == paying.account
    with ledger.begin() as transaction:
        transaction.execute(update(episodes).where(own).values(cut_by="pole"))
    ledger.dispose()
    walk.provider.post(captured(paying, OWED_PAISE))
    tickets = (
        select(crew_tickets.c.id)
        .join(episodes, episodes.c.id == crew_tickets.c.episode_id)
        .where(own)
        .where(crew_tickets.c.closed_at_ms.is_(None))
    )
    walk.until("crew ticket", waiting_for(walk, tickets, 1))
    listed = json.loads(walk.relight("tickets", "--json"))["tickets"]
    (ticket,) = [one for one in listed if one["account_id"] == paying.account]
    assert (ticket["meter_id"], ticket["reasons"]) == (paying.meter, ["not_cut_remotely"])
    told = json.loads(walk.relight("status", "--json"))
    assert ticket["ticket"] in [one["ticket"] for one in told["stuck"]]
    said = walk.relight(
        "ticket", "done", str(ticket["ticket"]), *BY, "--note", "joined at the pole"
    )
    assert said.startswith(f"ticket {ticket['ticket']} is closed: episode ")
    assert len(rows(walk, ended([paying]))) == 1
    assert rows(walk, commands_of([paying])) == []
    assert "joined at the pole, says R Verma" in walk.relight("trace", paying.account)


def test_lock_placed_by_hand_keeps_the_paid_dark_until_it_is_cleared(walk):
    """I10: money clears no lock but its own."""
    (paying,) = walk.take(FAST, 1)
    place = ("lock", "place", paying.account, "safety", *BY, "--document", "letter 3")
    assert walk.relight(*place).endswith("is placed and effective\n")
    walk.provider.post(captured(paying, OWED_PAISE))
    walk.until("payment", waiting_for(walk, posted([paying]), 1))
    assert rows(walk, commands_of([paying])) == []
    clear = ("lock", "clear", paying.account, "safety", *BY, "--document", "inspection 9")
    assert "; close: the quote is covered" in walk.relight(*clear)
    until_closed(walk, [paying])
    demand_closed_once(walk, [paying])
