"""Meters made of code: relays that obey, lag, lie and fall silent as real ones do.

Meters know nothing of payments, signatures or MQTT: nothing here but `fleet` imports an agent.

Reading order:

* `relay_model`: the load switch of class 70 as a table of transitions
* `faults`: what can be wrong with a meter
* `meters`: many meters, made from a seed and asked by time
* `door`: the way to them that an agent is handed
* `fleet`: real agents over such meters
* `__main__`: the command `relight-sim`
"""
