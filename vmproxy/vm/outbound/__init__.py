"""Connections to the far ends of VMs that want to be clients."""
