"""The doctor: tries what must fail, judges by what is delivered, calls nothing untried good.

Read in this order:

* `findings`: what a check may say, every code with its cure, and the report
* `probe`: a small MQTT client that can do wrong things on purpose
* `entrance`: who gets in
* `names`: who one is
* `rights`: what each kind of identity may reach
* `topics`: foreign topics on the running broker
* `limits`: speed, queues and sizes
* `copied_broker`: a second mosquitto from the same configuration, to break things
* `strangers`: every identity tries what it may not, on the copy
* `persistence`: what a killed broker remembers, on the copy
* `ledger_facts`: what the checks need of the ledger
* `clocks`: time
* `registry`: trust documents, keys, identities
* `files`: modes, and the ends of certificates
* `stores`: ledger and spool on disk
* `running`: engine and intake are there
* `examination`: runs every check, within its time
"""
