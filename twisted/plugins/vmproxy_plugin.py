"""Makes ``twistd vmproxy`` work."""

from twisted.application.service import ServiceMaker

vmproxy = ServiceMaker("vmproxy", "vmproxy.tap", "A virtual serial port concentrator for VMware VMs.", "vmproxy")
