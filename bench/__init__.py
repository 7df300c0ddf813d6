"""What is measured, each figure beside a floor measured in the same run.

Reading order:

* `floor/chain.c`: the hops alone, in C
* `floor/answerer.c`: HTTP answered after an fsync and nothing else, in C
* `floor`: compiles them, and runs the hops
* `world`: a real installation to measure
* `latency`: one payment at a time, webhook to filed acknowledgement
* `throughput`: sealed payments to filed acknowledgements, as many as there is room for
* `webhooks`: a provider's reports
* `http_load`: requests made beforehand, at a pace or as fast as they are answered
* `receiver`: receipts from the engine's place
* `intake`: signed webhooks answered after fsync
* `outstanding`: a ledger with many commands outstanding
* `startup`: the parts of an engine's start
* `bare_client`: the least that can send after a start
* `restart`: an engine killed with 100,000 commands outstanding
"""
