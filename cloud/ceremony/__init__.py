"""How root and registry documents come to be: planned, told, signed by people, put in place.

It runs offline, on the machines of the root's holders; nothing here is used by a running process.

Read in this order:

* `plan`: ceremony.toml: who holds which key, and the edge's policy
* `changes`: the next registry: renewed, a key rotated, added or revoked (pure)
* `draft`: a document on its way between its signers
* `telling`: a document in words, so that who signs sees what
* `placing`: finished documents become a trust folder
"""
