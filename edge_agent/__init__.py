"""One agent per concentrator: verify, journal, actuate, read back, acknowledge.

Everything but `host`, `configuration` and `__main__` is synchronous: clock, randomness and ids are
handed in, so that the same code runs on a concentrator and in a seeded simulation. Read in this
order:

* `agent`: the one control flow; what the rim calls, and what it must do
* `settings`: what an agent is told once, and what it hands back
* `roster`: the meters it answers for, as commissioning wrote them down
* `held_roster`: the same, as enrol signed them since
* `greeting`: hello and welcome: time, floor, trust, stop; nothing moves before them
* `clock`: what time it can be (pure)
* `verification`: whether a genuine command may be carried out (pure)
* `caps`: how many opens, and when (pure)
* `commands`: the life of a command, from its arrival to its one outcome
* `facts`: what journal, clock, roster and registry say about one command
* `unfinished`: commands without outcome, one queue per meter
* `relay`: the door to relays, and the steps of one operation
* `documents`: stop, resume, manifest and roster, kept before anything follows
* `filing`: the numbered items on their way to the engine
* `journal`: what is written down before anything moves
* `command_rows`: the rows of the journal that speak of commands and meters
* `manifest_rows`: its rows that speak of manifests
* `roster_rows`: its rows that speak of the roster
* `journal_file`: its files, in use and put aside
* `journal_schema`: its tables and the invariants they enforce
* `host`: the asynchronous rim: link, agent and door
* `enrolment`: a token becomes a key, a configuration and a request
* `configuration`: agent.toml, checked when it is read
* `conformance`: does an agent, ours or a stranger's, do what the protocol says?
* `__main__`: the command `relight-agent`
"""
