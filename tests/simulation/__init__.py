"""The whole walk in one seeded process: all our code, no network, no real time, every fault.

Read in this order:

* `plan`: what a seed draws: which faults, how bad, on whom
* `schedule`: time, the order of events, the trace and its digest
* `broker`: loses, repeats, delays, reorders, replays, turns bits; sessions and their loss
* `sources`, `provider`: two kinds of webhooks; captures, refunds, disputes, told too often
* `installation`, `files`, `ledger_file`: keys and documents; images; the ledger's cuts and restores
* `intake_party`, `engine_party`, `agent_party`, `meter_line`: our processes, hosted without I/O
* `one_failure`, `faults`: disks, clocks, partitions, thieves
* `people`, `moving`: owners of locks; meters that go to another agent
* `world`: one seed: safety, then liveness
* `independent`: the wire read by other libraries
* `checks_ledger`, `checks_lawful`, `checks_edge`, `checks_end`: what must hold, and when
* `seeds`: many of them, on all cores

`./run simulate --seeds 1 --from SEED --trace` shows one seed's history; `test_planted` that each
check can fail.
"""
