"""The whole walk in one seeded process: all our code, no network, no real time, every fault.

Read in this order:

* `plan`: what a seed draws: which faults, how bad, on whom
* `schedule`: time, the order of events, the trace and its digest
* `broker`: loses, repeats, delays, reorders, replays, turns bits; sessions and their loss
* `provider`: captures, refunds, disputes, and webhooks posted too often
* `installation`, `ledger_file`: keys and documents; the ledger's file, its cuts and restores
* `intake_party`, `engine_party`, `agent_party`, `meter_line`: our processes, hosted without I/O
* `one_failure`, `faults`: disks, clocks, partitions, thieves
* `world`: one seed: safety, then liveness
* `independent`: the wire read by other libraries
* `checks_ledger`, `checks_edge`, `checks_end`: what must hold at each step and at the end

`python -m tests.simulation --from SEED --seeds 1 --trace` shows one seed's history.
"""
