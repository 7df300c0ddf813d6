"""The command `relight`, and the only wiring of the cloud.

* `__main__`: the commands, in the order a newcomer meets them
* `keys`: development keys and trust documents
* `installation`: a whole installation in one folder, for development, demo and benches
* `processes`: intake, engine, and both together
* `demo`: one consumer is cut and comes back, told with its times
* `demo_world`: the demo's broker, cloud, agents and meters as real processes
"""
