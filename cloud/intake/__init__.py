"""Takes providers' reports in and forwards what they say, sealed, until the engine has stored it.

Steps 1 and 2 of the walk. Its own process, its own SQLite spool; it sees neither ledger nor meters.

Read in this order:

* `facts`: what a report says, once it is read
* `provider`: what the door must know of a provider
* `strict_json`: JSON of one spelling
* `razorpay`: is a webhook of Razorpay genuine, and what does it say (pure)
* `signed`: the same for any source that signs as docs/webhooks.md says (pure)
* `spool_file`: the spool as a file: durable, private, of one writer
* `spool_schema`: what may stand in the spool file, and what may never change
* `spool`: reports byte for byte, numbered items, receipts, marks of polling: the durable part
* `counting`: every outcome by its name
* `writing`: many reports, one fsync
* `server`: the HTTP door
* `razorpay_fetched`: what Razorpay's lists say, read as its webhooks are (pure)
* `poll_plan`: which stretch of the lists is fetched next, and what may be said then (pure)
* `fetching`: GET over HTTPS, whole and within a bounded time
* `razorpay_poll`: what the lists hold and the spool does not
* `polling`: fetch, store, then mark
* `forwarding`: sealed payments until receipted, watermarks
* `process`: `relight intake`, the wiring of the above
"""
