"""The second mind: it co-signs opens by its own copy of the facts, or says no.

It shares no rules, imports, ledger or decisions with the engine: of `cloud` it knows the
configuration, the spelling of money and days, and the words of the vocabulary. Independence is what
it is for; tests/cloud/guard/test_independence.py holds it to that.

Read in this order:

* `asked`: half-signed commands as values; which bytes are worth a look
* `engine_ledger`: one look at the engine's ledger, read-only
* `rules`: whether one open may be signed (pure)
* `thresholds`: how many may be, before everything stops (pure)
* `schema`: the guard's own tables
* `store`: its file, durable and its own; how long it has been running
* `csv_rows`: one line of a CSV file, by its own reader
* `file_kinds`: what a row of each kind says
* `imports`: accounts, meters, bills, proposals, earlier payments: a whole file or nothing
* `payments`: each payment fact once, whoever it may be for; the fold
* `watermarks`: whether payments may be missing (R1)
* `freezes`: stop and resume; a breach is a stop, two approvers lift it (R9)
* `facts`: what the store knows of one command
* `arrivals`: what its own session brings
* `guard`: one turn: what arrived, then what is asked
* `process`: the rim: link, clock, timers
"""
