"""vCenter: what it says about VMs, as labels of consoles. Optional: needs pyVmomi, ``vmproxy[vcenter]``."""
