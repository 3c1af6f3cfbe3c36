"""The ESXi side: connections from hosts, each of which carries one serial port of one VM."""
