"""Simulated ESXi hosts and guests, for demonstrations, tests and load. Speaks :mod:`vmproxy.wire` and nothing else."""
