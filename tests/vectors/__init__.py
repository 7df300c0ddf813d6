"""Every row of docs/vectors through the receivers that will meet it: agent, engine, intake.

* `rows`: which receiver each row belongs to; `test_every_row` counts that none is left out
* `agent_world`, `engine_world`, `intake_world`: the real thing, standing where a vector says
* `agent_sight`, `engine_sight`: what an expectation of a sequence means to that receiver
* `mutations`: seeded garbage made from genuine messages
"""
