"""The auditor: reads what the others stored, by its own code, and says what cannot be true.

It imports nothing of ours: its own decoder, its own fold of the ledger, another library for the
signatures. A mistake that producer and auditor could share would be found by nobody.

Read in this order:

* `findings`: what the auditor says
* `unpacking`: msgpack, one spelling only
* `signatures`: envelopes, root, registry, identities: who may have signed what
* `evidence`: ledger, spool and journals, opened for reading only
* `money`: reports, payments, entries (I1, I2, I3, I10)
* `instructions`: decisions and commands (I4, I7, I11)
* `field`: journals and what agents filed (I3, I5, I6, I7, I8)
* `people`: the chain over what people did
* `rest`: what must hold when nothing is under way (I9, I12)
* `auditing`: all of it, in order
"""
