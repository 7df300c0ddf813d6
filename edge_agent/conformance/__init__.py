"""Does an agent, ours or a stranger's, do what docs/protocol.md says? A black box is asked.

The runner plays the engine, a hostile broker, a bad line and the meters against one agent process
on a real broker. It knows of an agent only what the protocol and docs/conformance.md ask of every
one. Read in this order:

* `installation`: the runner's own keys and trust documents
* `relay_files`: the file contract for relays, and the meters behind it
* `relay_door`: the same files as the door of our own agent
* `handout`: the folder that the agent under test is given
* `process`: the agent under test: started, killed, started again
* `line`: the line to the broker, which can be cut, and the session, which can be forgotten
* `record`: every word of the agent, checked and kept
* `engine`: the engine as a run plays it
* `stage`: what a case plays with, and the words it is written in
* `case`: one row
* `greeting_cases`: hello and welcome
* `floor_cases`: the floor of a welcome
* `command_cases`: what a genuine command does
* `refusal_cases`: genuine commands that must not be done
* `junk_cases`: messages that fail steps 1 to 7
* `filing_cases`: numbered items until they are filed
* `restart_cases`: crashes, a lost state, a rolled-back one
* `freeze_cases`: stop and resume
* `trust_cases`: root and registry documents
* `runner`: plays the rows
* `report`: the table
* `__main__`: the command `relight-agent conformance`
"""
