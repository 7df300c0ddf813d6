"""The broker's configuration, access list and certificates: templates and the code that fills them.

The broker is a wire, never a database: what it loses, the senders send again.
Read in this order:

* `configuration`: the plan of a broker, and its mosquitto.conf and acl out of `templates/`
* `certificates`: a development authority, and certificates whose CN is the identity
* `initialisation`: a directory with all of it; more identities later
* `broker`: finds the mosquitto program, checks it, runs it in the foreground
"""
