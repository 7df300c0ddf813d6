"""Tests of the wire, and the command that makes docs/vectors: `python -m tests.wire.make_vectors`.

* `installation`: the keys, ids, times and trust documents every vector speaks of
* `bodies`: one example body of every message type and item kind
* `sealed`: those bodies as envelopes on their topics
* `junk`, `junk_signers`: messages that fail one of steps 1 to 7
* `refused`: genuine messages that need an agent, an engine or an intake to be judged
* `refused_opens`, `refused_rosters`: the same for opens, manifests and rosters
* `documents`: trust documents that may not be believed
* `signatures`: raw Ed25519 cases a library must get right
* `sequences`: messages whose answer depends on the ones before
* `page`: the byte tables of docs/protocol.md
* `make_vectors`: writes all of it; `vectors`: reads it back for any test
"""
