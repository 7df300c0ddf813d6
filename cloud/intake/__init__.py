"""Takes providers' reports in and forwards what they say, sealed, until the engine has stored it.

Steps 1 and 2 of the walk. Its own process, its own SQLite spool; it sees neither ledger nor meters.

Read in this order:

* `facts`: what a report says, once it is read
* `razorpay`: is it genuine, and what does it say (pure)
* `spool_schema`: what may stand in the spool file, and what may never change
* `spool`: reports byte for byte, numbered items, receipts: the durable part
* `counting`: every outcome by its name
* `writing`: many reports, one fsync
* `server`: the HTTP door
* `forwarding`: sealed payments until receipted, watermarks
* `process`: `relight intake`, the wiring of the above
"""
