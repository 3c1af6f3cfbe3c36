"""The ESXi front: connections from hosts, each with one serial port of one VM."""
