"""Starts Python processes in milliseconds, by forking one that has everything imported.

They are processes like any other: with their own standard streams, directory, environment and
signals, and with an exit of their own. Only the start of the interpreter and the imports are saved,
so a test that is about those starts an interpreter itself.

* `client`: the side of the tests; `Zygote` starts, `Child` is what was started.
* `server`: the process that forks.
"""

from zygote.client import PIPE, Child, Zygote

__all__ = ["PIPE", "Child", "Zygote"]
