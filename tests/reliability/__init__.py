"""Real processes killed with SIGKILL at named points, and a real broker killed under load.

Read in this order:

* `steering`: one page of memory that every process shares: how far the clock is ahead, where to die
* `points`: the table of the points: which function, which side of it, what is on disk by then
* `crashing`: the launcher: the product's own commands, dying where they are told to
* `lasting_meters`: simulated meters whose contacts stay as they are when their agent dies
* `installation`: the installation of `tests/walk`, every process under the launcher
* `payers`: consumers who pay at a pace, and a provider that repeats what was not answered
* `stages`: how far each payment came, read from the files by plain SQL
* `demands`: what must be true at rest: nothing lost, nothing twice
* `matrix`: one kill at one point, and all of them as a table
* `chaos`: a broker killed again and again under thousands of payments

`python -m tests.reliability --hits 3` and `python -m tests.reliability chaos` print the figures of
docs/reliability.md.
"""
