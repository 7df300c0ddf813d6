"""The ledger database: every table, with the invariant it keeps beside it.

Rules kept here: money is integer paise, time integer ms UTC; entries, decisions and filed items are
append-only (the triggers of the first migration refuse UPDATE and DELETE, I3); a lifecycle's column
is CHECKed against its enum. One schema for SQLite and PostgreSQL.

* `columns`: what every table is made of
* `installation`: this ledger's life, the accounts; agents, their journals and meters
* `money`: bills, entries, the intakes' spools, payment items and payments
* `episode`: episodes, quotes, orders, locks, decisions, crew tickets
* `command`: commands, and every item that agents filed
* `opening`: batches, proposals, manifests, approvals, stops, acts
* `people`: what people ask for, must look at, and gave: requests, alarms, imported files
"""

from cloud.schema.columns import metadata
from cloud.schema.command import commands, filed_items
from cloud.schema.episode import crew_tickets, decisions, episodes, locks, orders, quotes
from cloud.schema.installation import accounts, agents, journals, ledger, meters, moves
from cloud.schema.money import bills, completeness, entries, payment_items, payments, spools
from cloud.schema.opening import acts, approvals, batches, freezes, manifests, proposals
from cloud.schema.people import alarms, imported_files, requests

APPEND_ONLY = ("entries", "decisions", "filed_items", "acts")

__all__ = [
    "APPEND_ONLY",
    "accounts",
    "acts",
    "agents",
    "alarms",
    "approvals",
    "batches",
    "bills",
    "commands",
    "completeness",
    "crew_tickets",
    "decisions",
    "entries",
    "episodes",
    "filed_items",
    "freezes",
    "imported_files",
    "journals",
    "ledger",
    "locks",
    "manifests",
    "metadata",
    "meters",
    "moves",
    "orders",
    "payment_items",
    "payments",
    "proposals",
    "quotes",
    "requests",
    "spools",
]
