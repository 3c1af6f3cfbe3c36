"""Connections to the remote ends of VMs that want to be clients."""
