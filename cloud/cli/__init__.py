"""The command `relight`, and the only wiring of the cloud.

* `__main__`: the commands, in the order a newcomer meets them
* `ledger_access`: the ledger of an installation for one command
* `status`: what is stuck and why, and how fast the rest is
* `tickets`: what crews have to do
* `requests`: a person's acts, which the engine weighs
* `batches`: intended opens: proposed, looked at, cancelled
* `person_keys`: how a person hands a command their key
* `freezes`: every open stopped by one person, let go on by two
* `backup`: the ledger's copies, made and put back
* `ceremony`: keys and trust documents for production: created, signed, rotated, revoked
* `agents`: agents enrolled: tokens out, identities signed
* `audit`: what the auditor says of an installation
* `keys`: development keys and trust documents
* `installation`: a whole installation in one folder, for development, demo and benches
* `processes`: intake, engine, guard, and all together
* `guard`: the second mind: run, told by files, released by two persons
* `doctor`: proves the configuration, judged by what is delivered
* `demo`: one consumer is cut and comes back, told with its times
* `demo_world`: the demo's broker, cloud, agents and meters as real processes
"""
