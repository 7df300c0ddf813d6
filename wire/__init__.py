"""What both sides of the wire must agree on.

It imports nothing of ours; everything but the link and key files is pure.

Read in this order:

* `fields`: the scalar types of every body, with their limits
* `vocabulary`: the words that stand in bodies: actions, outcomes, refusal reasons, verdicts
* `topics`: the topic of every message type, its size limit, its shard
* `keys`: Ed25519 keys and their ids
* `envelope`: what a signature covers; seal and open
* `messages`: the traffic of the walk as types
* `documents`: the signed documents as types: root, registry, roster, manifest, stop
* `decoding`: from bytes to bodies and back, one spelling only
* `chain`: the dense numbers and heads of an agent's journal
* `trust`: root and registry documents, and who may sign what
* `checking`: steps 1 to 7 of receiving any signed message, in their order
* `sealed_keys`: a private key under a passphrase
* `key_files`: private keys at rest
* `enrolment`: the token and the request by which an agent joins an installation
* `link_settings`: what a link is told once
* `frames`: PUBLISH and PUBACK as bytes
* `gmqtt_guards`: the one home of gmqtt, each of its traps covered
* `link_windows`: what is under way in both directions, bounded
* `line_watch`: notices a line that is up and swallows
* `retry`: how long to wait before the next connection
* `link`: the one durable MQTT session everybody uses
"""
