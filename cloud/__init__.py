"""Payments in, commands out, facts filed, people told.

Read in this order; it is the walk of docs/architecture.md:

* `vocabulary`: the cloud's own words
* `schema`: every table, with the invariant it keeps
* `store`: the database as an engine, durable settings, migrations
* `intake`: a provider's report becomes a numbered, sealed payment item (steps 1, 2)
* `engine`: one turn of the engine: everything that arrived, in one transaction
* `answers`: what it says back, signed: receipts and `filed`
* `spools`: which numbers of which intake are stored
* `payments`: each item's verdict, and its payment posted (step 3)
* `ledger`: entries, and the folds over them
* `returns`: money that goes back
* `locks`: reasons a relay may not be closed
* `rules`: may this supply come back? (step 4, pure)
* `tickets`: paid and dark, and no command will do: people go
* `decisions`: the situation read, the decision stored, the command queued (steps 4, 5)
* `opening_rules`: may this supply be taken away? (pure; nothing here is asked of a close)
* `opening_caps`: how many may be taken away now (pure)
* `opening_counts`: how many were, read for the caps
* `opening_situations`: what the ledger knows of intended opens
* `opening_decisions`: what was decided of them, stored
* `batches`: intended opens: what becomes of each, and of all that came together
* `opening_recall`: opens that must not be any more, dropped or withdrawn
* `opening`: proposals become opens
* `outbox`: the lifecycle of a command
* `lines`: whose command goes next
* `publisher`: a queued command gets its counter, its bytes and its signature (step 6)
* `freezes`: stop and resume: kept, lifted by two, told to everybody
* `cosigning`: the guard's answers; an open leaves with both signatures
* `hellos`: an agent is there; what it is told
* `moves`: a meter goes to another agent
* `acknowledgements`: facts filed (step 12)
* `outcomes`: what a filed fact means for its command, its episode and the relay's view
* `opening_ends`: how an open ends: an episode, a failure, a read
* `opening_turn`: the part of a turn that is about opens
* `requests`: what a person asks for, weighed and answered
* `acts`: what people did, chained
* `timers`: what the clock has made due, in one look
* `alarms`: what a person must look at
* `live`: what dashboards see (step 14)
* `identities`: the keys of agents
* `trust_files`: what a process believes, read again while it runs
* `spelling`: how people in India write money and time
* `import_rows`: one line of a CSV file becomes typed values, or a bad row
* `import_job`: what every kind of import shares
* `import_bills`: bills, which never change
* `import_cuts`: meters that are open already at go-live
* `imports`: accounts, meters, bills and cuts: a whole file or nothing of it
* `import_proposals`: a file of intended opens becomes a batch
* `trace_steps`: the ledger's rows told as steps, in words
* `trace`: one payment's, episode's, account's, meter's or command's timeline
* `ledger_file`: the ledger as a file: who may use it, whether it is sound
* `backup`: a checked copy of a running ledger
* `restore`: an older ledger takes the place of a lost one
* `status_stuck`: what is paid and dark the longest, and what it waits for
* `status_funnel`: the last hour from report to light
* `status_agents`: who is there, and what waits for them
* `status`: how things stand, for operators
* `configuration`: relight.toml
* `engine_process`: the engine's rim: link, clock, timers
* `guard`: the second mind, which co-signs opens by its own copy of the facts
* `ceremony`: root and registry documents: planned, signed by people, put in place
* `commissioning`: one-time tokens out, identities of agents signed
* `doctor`: proves the configuration: tries what must fail
* `audit`: the auditor, which shares no code with what it audits
* `migrations`: the schema's versions
* `cli`: the command `relight`, and the only wiring
"""
