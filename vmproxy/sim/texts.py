"""The texts of a simulated guest: the boot, the banner, the fake files, the log lines of an idle machine.

The distribution is made up, and says that it is simulated wherever a person would look, so that nobody mistakes a
demonstration for a machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

KERNEL = "6.12.30-sim"
OS = "Harbour Linux 4 (simulated)"
_BUILD = "#1 SMP PREEMPT_DYNAMIC"

_KERNEL_LINES = (
    f"Linux version {KERNEL} (build@harbour) {_BUILD}",
    "Command line: BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro console=tty0 console=ttyS0,115200n8",
    "BIOS-provided physical RAM map:",
    "BIOS-e820: [mem 0x0000000000000000-0x000000000009ebff] usable",
    "BIOS-e820: [mem 0x0000000000100000-0x00000000bfecffff] usable",
    "DMI: VMware, Inc. VMware Virtual Platform, simulated by vmproxy",
    "Hypervisor detected: VMware",
    "vmware: TSC freq read from hypervisor : 2394.374 MHz",
    "smpboot: Allowing 2 CPUs, 0 hotplug CPUs",
    "Memory: 3985172K/4193780K available",
    "printk: console [ttyS0] enabled",
    "ACPI: Core revision 20240827",
    "clocksource: tsc-early: mask: 0xffffffffffffffff",
    "smp: Brought up 1 node, 2 CPUs",
    "NET: Registered PF_INET protocol family",
    "PCI: Using configuration type 1 for base access",
    "SCSI subsystem initialized",
    "vmw_pvscsi: using 64bit dma",
    "scsi 0:0:0:0: Direct-Access     VMware   Virtual disk     2.0  PQ: 0 ANSI: 6",
    "sd 0:0:0:0: [sda] 41943040 512-byte logical blocks: (21.5 GB/20.0 GiB)",
    " sda: sda1 sda2",
    "vmxnet3 0000:0b:00.0 eth0: NIC Link is Up 10000 Mbps",
    "00:05: ttyS0 at I/O 0x3f8 (irq = 4, base_baud = 115200) is a 16550A",
    "EXT4-fs (sda1): mounted filesystem with ordered data mode",
    "VFS: Mounted root (ext4 filesystem) readonly on device 8:1.",
    "Freeing unused kernel image (initmem) memory: 3428K",
    "Run /sbin/init as init process",
)
_UNITS = (
    "Created slice system-getty.slice",
    "Reached target swap.target - Swaps",
    "Listening on systemd-journald.socket - Journal Sockets",
    "Mounted dev-hugepages.mount - Huge Pages File System",
    "Started systemd-journald.service - Journal Service",
    "Finished systemd-fsck-root.service - File System Check on Root Device",
    "Started systemd-udevd.service - Rule-based Manager for Device Events and Files",
    "Reached target local-fs.target - Local File Systems",
    "Finished systemd-tmpfiles-setup.service - Create System Files and Directories",
    "Started systemd-networkd.service - Network Configuration",
    "Reached target network.target - Network",
    "Started cron.service - Regular background program processing daemon",
    "Started open-vm-tools.service - Service for virtual machines hosted on VMware",
    "Started ssh.service - Secure Shell server",
    "Started serial-getty@ttyS0.service - Serial Getty on ttyS0",
    "Reached target multi-user.target - Multi-User System",
)
_STOPPING = (
    "Stopped target multi-user.target - Multi-User System",
    "Stopping ssh.service - Secure Shell server...",
    "Stopped cron.service - Regular background program processing daemon",
    "Unmounted dev-hugepages.mount - Huge Pages File System",
    "Reached target reboot.target - System Reboot",
)
_PANIC = (
    "sysrq: Trigger a crash",
    "Kernel panic - not syncing: sysrq triggered crash",
    f"CPU: 1 UID: 0 PID: 1147 Comm: bash Not tainted {KERNEL} {_BUILD}",
    "Hardware name: VMware, Inc. VMware Virtual Platform, simulated by vmproxy",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x5d/0x80",
    " panic+0x118/0x2ee",
    " sysrq_handle_crash+0x1a/0x20",
    " __handle_sysrq+0x9b/0x190",
    " write_sysrq_trigger+0x5c/0x90",
    " </TASK>",
    "Kernel Offset: 0x1e000000 from 0xffffffff81000000",
    "Rebooting in 10 seconds..",
)
_CHATTER = (
    "systemd[1]: Starting logrotate.service - Rotate log files...",
    "CRON[{pid}]: (root) CMD (run-parts /etc/cron.hourly)",
    "systemd-timesyncd[412]: Contacted time server 192.0.2.123:123",
    "sshd[{pid}]: Connection closed by 198.51.100.{octet} port {port} [preauth]",
    "dhclient[388]: bound to 192.0.2.{octet} -- renewal in {port} seconds.",
    "postfix/smtpd[{pid}]: disconnect from relay.example.net[203.0.113.{octet}]",
)
SYSRQ_HELP = (
    "sysrq: HELP : loglevel(0-9) reboot(b) crash(c) terminate-all-tasks(e) memory-full-oom-kill(f) "
    "show-memory-usage(m) sync(s) show-task-states(t) unmount(u)"
)
COMMANDS = (
    "cat FILE  clear  count N  date  dmesg  echo TEXT  exit  help  hostname  ls [DIR]  panic  reboot  uname [-a]\n"
    "uptime  vmotion  whoami  yes [N]\n"
    "count prints N numbered lines; vmotion moves this machine to another host, now. ^C ^D ^L ^U ^W and arrows work.\n"
)


def stamped(seconds: float, text: str) -> bytes:
    """A kernel line with its timestamp, as the console shows it."""
    return f"[{seconds:12.6f}] {text}\r\n".encode()


def kernel_log() -> Iterator[bytes]:
    """The messages of the kernel since boot, as ``dmesg`` prints them."""
    seconds = 0.0
    for number, line in enumerate(_KERNEL_LINES):
        yield stamped(seconds, line)
        seconds += 0 if number < 4 else 0.043717 + number * 0.001013


def boot(name: str) -> Iterator[tuple[float, bytes]]:
    """The boot: how long to wait before each piece, and the piece."""
    yield 0.0, b"\r\nLoading Linux " + KERNEL.encode() + b" ...\r\nLoading initial ramdisk ...\r\n"
    for line in kernel_log():
        yield 0.05, line
    yield 0.1, f"\r\nWelcome to \x1b[1m{OS}\x1b[0m!\r\n\r\n".encode()
    for unit in _UNITS:
        yield 0.08, f"[\x1b[0;32m  OK  \x1b[0m] {unit}.\r\n".encode()
    yield 0.2, f"[\x1b[0;32m  OK  \x1b[0m] Set hostname to <{name}>.\r\n".encode()


def shutdown(uptime: float) -> Iterator[tuple[float, bytes]]:
    """The output of a reboot before the next boot."""
    for line in _STOPPING:
        yield 0.1, f"[\x1b[0;32m  OK  \x1b[0m] {line}.\r\n".encode()
    yield 0.2, stamped(uptime, "reboot: Restarting system")
    yield 1.0, b""


def panic(uptime: float) -> Iterator[tuple[float, bytes]]:
    """A crash, and the wait that ends it."""
    for line in _PANIC:
        yield 0.0, stamped(uptime, line)
    yield 10.0, b""


def chatter(rng: Random, clock_time: str, name: str) -> bytes:
    """One line of an idle machine's log."""
    text = rng.choice(_CHATTER).format(
        pid=rng.randrange(900, 32000), octet=rng.randrange(2, 254), port=rng.randrange(1024, 65000)
    )
    return f"{clock_time} {name} {text}\r\n".encode()


def files(name: str) -> dict[str, str]:
    """The fake files: path to content."""
    return {
        "/etc/hostname": f"{name}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {name}\n",
        "/etc/motd": f"Welcome to {OS}. Type help for what this shell knows.\n",
        "/etc/os-release": f'PRETTY_NAME="{OS}"\nNAME="Harbour Linux"\nID=harbour\nVERSION_ID="4"\n',
        "/proc/cmdline": _KERNEL_LINES[1].partition(": ")[2] + "\n",
        "/proc/version": _KERNEL_LINES[0] + "\n",
        "/root/README": "A simulated machine: nothing here is real, and nothing can break.\n",
        "/root/notes.txt": "Type 'vmotion' and go on typing: not a key is lost.\n",
    }
