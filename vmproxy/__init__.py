"""vmproxy: a virtual serial port concentrator for VMware virtual machines."""

__version__ = "0.1.0"
