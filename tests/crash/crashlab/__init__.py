"""Tools that kill processes at every bad moment and judge what became of the money.

* `worker`: a process that verifies, recovers, and dies where it is told to.
* `crew`: starts workers in milliseconds.
* `service`: the sandbox with ears: who asked for what, and a hook to kill the asker.
* `judgement`: holds ledger and charge log side by side.
* `campaign`: worker after worker killed on one ledger; `fleet`: several at once.
* `trace`, `disk`, `powercut`: what a power cut leaves of a database file.

Run ``python benchmarks/crash.py --help`` for campaigns of any length.
"""
