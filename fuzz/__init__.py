"""Fuzzing: readers of what strangers send, given bytes that a machine makes up, and promises that must hold anyway.

``make fuzz`` runs every target for a bounded time: under atheris (coverage guides what is tried next) where that is
installed, else under a driver of hypothesis that mutates the seeds. What breaks a promise is kept in ``fuzz/found/``,
one file an input, and stays there when the fault is mended: the tests feed it to its target ever after.
"""
