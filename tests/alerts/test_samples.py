"""The watches of ``etc/watch.toml`` on streams as consoles print them: what is to be told is, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.test_line_watcher import Watched
from tests.support.requirements import expressions
from vmproxy.alerts.watch_file import doubts, read_watches
from vmproxy.alerts.watch_set import Plan
from vmproxy.sim import texts

pytestmark = expressions

SAMPLE = Path(__file__).resolve().parents[2] / "etc" / "watch.toml"

PANIC = """\
[  812.104512] sysrq: Trigger a crash
[  812.104988] Kernel panic - not syncing: sysrq triggered crash
[  812.105211] CPU: 1 PID: 1147 Comm: bash Kdump: loaded Not tainted 5.14.0-427.el9.x86_64 #1
[  812.106002] Call Trace:
[  812.106190]  <TASK>
[  812.106421]  dump_stack_lvl+0x34/0x48
[  812.120001] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---
"""
NULL_POINTER = """\
[ 3021.558310] BUG: kernel NULL pointer dereference, address: 0000000000000008
[ 3021.558344] #PF: supervisor read access in kernel mode
[ 3021.558401] Oops: 0000 [#1] PREEMPT SMP NOPTI
[ 3021.558498] RIP: 0010:vmxnet3_rq_rx_complete+0x2f1/0x1070 [vmxnet3]
[ 3021.560002] ---[ end trace 0000000000000000 ]---
"""
BUG_AT = """\
[   88.102331] ------------[ cut here ]------------
[   88.102332] kernel BUG at fs/ext4/inode.c:2723!
[   88.102340] invalid opcode: 0000 [#1] SMP PTI
"""
GPF = """\
[99112.001231] general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP
"""
ARM = """\
[   12.550112] Unable to handle kernel paging request at virtual address ffff800011c50000
[   12.550340] Internal error: Oops: 96000007 [#1] SMP
"""
OOM = """\
[51234.889012] java invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0
[51234.889040] Mem-Info:
[51234.912212] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task=java,pid=4711
[51234.912330] Out of memory: Killed process 4711 (java) total-vm:16333212kB, anon-rss:7891234kB, file-rss:0kB
"""
CGROUP_OOM = """\
[51999.001233] Memory cgroup out of memory: Killed process 99812 (node) total-vm:1234567kB, anon-rss:523412kB
"""
READ_ONLY = """\
[ 7071.203311] EXT4-fs error (device sda2): ext4_find_entry:1678: inode #393219: comm sshd: reading directory lblock 0
[ 7071.203388] Aborting journal on device sda2-8.
[ 7071.203992] EXT4-fs (sda2): Remounting filesystem read-only
"""
XFS = """\
[ 8811.120091] XFS (dm-0): Corruption of in-memory data (0x8) detected at xfs_defer_finish_noroll+0x2c6/0x580 [xfs]. \
Shutting down filesystem.
"""
IO_ERROR = """\
[ 6001.110201] sd 0:0:1:0: [sdb] tag#12 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=0s
[ 6001.110230] blk_update_request: I/O error, dev sdb, sector 41943032 op 0x1:(WRITE) flags 0x800 phys_seg 1
[ 6001.110301] Buffer I/O error on dev sdb1, logical block 5242623, lost async page write
"""
HUNG = """\
[ 2417.401198] INFO: task kworker/u8:2:211 blocked for more than 120 seconds.
[ 2417.401233]       Not tainted 6.1.0-18-amd64 #1 Debian 6.1.76-1
[ 2417.401255] "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
"""
LOCKUP = """\
[  331.772101] watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:88]
[  352.004402] rcu: INFO: rcu_preempt self-detected stall on CPU
"""
EMERGENCY = (
    "[\x1b[0;1;31mFAILED\x1b[0m] Failed to mount \x1b[0;1;39mmnt-data.mount\x1b[0m - /mnt/data.\n"
    "[\x1b[0;1;38;5;185mDEPEND\x1b[0m] Dependency failed for \x1b[0;1;39mlocal-fs.target\x1b[0m - Local File Systems.\n"
    'You are in emergency mode. After logging in, type "journalctl -xb" to view\n'
    'system logs, "systemctl reboot" to reboot, or "exit"\nto continue bootup.\n'
    "Give root password for maintenance\n(or press Control-D to continue): "
)
INITRAMFS = """\
ALERT!  UUID=0e5b5b0c-4f0e-4b3a-9b53-8d5be0f2a2a1 does not exist.  Dropping to a shell!


BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) built-in shell (ash)
Enter 'help' for a list of built-in commands.

(initramfs) """
FSCK = "/dev/sda2: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\n\t(i.e., without -a or -p options)\n"
BUGCHECK = """\
\x1b[2J\x1b[1;1H<?xml version="1.0"?>
<BP>
<INSTANCE CLASSNAME="BLUESCREEN">
<PROPERTY NAME="STOPCODE" TYPE="string"><VALUE>"0xE2"</VALUE></PROPERTY><machine-info>
</INSTANCE>
</BP>
!SAC>"""
OLD_BUGCHECK = "\x1b[0;37;44m\x1b[2J*** STOP: 0x0000007B (0xF78D2524,0xC0000034,0x00000000,0x00000000)\n"
SAC = (
    "\x1b[2J\x1b[1;1HComputer is booting, SAC started and initialized.\n\n"
    'Use the "ch -?" command for information about using channels.\n'
    "SAC>\nEVENT: The CMD command is now available.\nSAC>"
)
NO_BOOT = "\x1b[2J\x1b[01;01HEFI VMware Virtual SCSI Hard Drive (0.0)... unsuccessful.\r\n"
BIOS = "Network boot from VMware VMXNET3\r\nOperating System not found\r\n"
PXE = "CLIENT MAC ADDR: 00 50 56 AA BB CC\nPXE-E51: No DHCP or proxyDHCP offers were received.\nPXE-M0F: Exiting PXE.\n"
GRUB = "error: no such device: 3fbf-8fc0.\nEntering rescue mode...\ngrub rescue> "
ANACONDA = "\x1b[7m[anaconda]1:main* 2:shell  3:log\x1b[m\nThe following error occurred while running kickstart\n"
SUBIQUITY = "finish: subiquity/Install/install/curtin_install: FAIL: \n"
DONE = "Installation complete.  Press ENTER to quit:\n"

HEALTHY = (
    "\x1b[H\x1b[J\x1b[1;1H\x1b[0;37;40mGNU GRUB  version 2.06\x1b[0m\n"
    "[    0.000000] Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)\n"
    "[    0.000000] BIOS-provided physical RAM map:\n"
    "[    0.512003] Kernel command line: BOOT_IMAGE=/vmlinuz panic=10 oops=panic ro quiet\n"
    "[    0.601200] PANIC timeout is set to 10 seconds\n"
    "[    1.100000] rcu: Hierarchical SRCU implementation.\n"
    "[    1.200000] rcu: \tRCU CPU stall warnings timeout set to 60\n"
    "[    2.000000] EXT4-fs (sda1): mounted filesystem with ordered data mode. Quota mode: none.\n"
    "[    2.100000] EXT4-fs (sda1): re-mounted. Opts: errors=remount-ro\n"
    "[    2.200000] VFS: Mounted root (ext4 filesystem) readonly on device 8:1.\n"
    "[    3.000000] XFS (sdb1): Mounting V5 Filesystem\n[    3.100000] XFS (sdb1): Ending clean mount\n"
    "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39memergency-pre.target\x1b[0m.\n"
    "[\x1b[0;32m  OK  \x1b[0m] Finished \x1b[0;1;39mfsck on Root Device\x1b[0m.\n"
    "DEBUG: everything is fine\nNov 22 16:09:13 web01 app[312]: oops, wrong password for root\n"
    "Nov 22 16:09:13 web01 app[312]: the debug log of BUG-1234 says: no I/O error today\n"
    "Nov 22 16:09:14 web01 postgres[99]: ERROR:  out of memory for query result\n"
    "Nov 22 16:09:14 web01 kernel: INFO: task scheduler initialized\n"
    "Nov 22 16:09:15 web01 mail[1]: subject: your server is in emergency mode?\n"
    "web01 login: root\nPassword: \nLast login: Sun Nov 22 16:00:00 on ttyS0\n"
    "root@web01:~# echo error: file not found\nerror, file not found\n"
    "[  100.000000] systemd-shutdown[1]: Remounting '/' read-only in with options 'errors=remount-ro'.\n"
    "[  100.100000] EXT4-fs (sda1): re-mounted. Opts: errors=remount-ro. Quota mode: none.\n"
    "[  100.200000] reboot: Restarting system\n"
    "Loading operating system ...\nPress ENTER to boot the selected OS\n"
    "SAC>ch -li\nChannel List\n"
)


@pytest.fixture
def w(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    watched.watcher.use(Plan(read_watches(SAMPLE)))
    return watched


def told(w: Watched, stream: str) -> set[str]:
    found = {name for name, _ in w.say(w.claim("web01"), stream.replace("\n", "\r\n").encode())}
    w.clock.advance(2)  # a prompt is a line then
    while w.store.line_feed.wait() == 0:
        w.store.line_feed.work()
    return found | {one.watch.name for one in w.found}


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (PANIC, {"linux-panic"}),
        (NULL_POINTER, {"linux-bug", "linux-oops"}),
        (BUG_AT, {"linux-bug"}),
        (GPF, {"linux-oops"}),
        (ARM, {"linux-oops"}),
        (OOM, {"linux-oom"}),
        (CGROUP_OOM, {"linux-oom"}),
        (READ_ONLY, {"linux-filesystem"}),
        (XFS, {"linux-filesystem"}),
        (IO_ERROR, {"linux-io-error"}),
        (HUNG, {"linux-hung"}),
        (LOCKUP, {"linux-hung"}),
        (EMERGENCY, {"linux-emergency", "linux-unit-failed"}),
        (INITRAMFS, {"linux-emergency"}),
        (FSCK, {"linux-filesystem"}),
        (BUGCHECK, {"windows-bugcheck"}),
        (OLD_BUGCHECK, {"windows-bugcheck"}),
        (SAC, {"windows-sac"}),
        (NO_BOOT, {"firmware-no-boot"}),
        (BIOS, {"firmware-no-boot"}),
        (PXE, {"firmware-pxe"}),
        (GRUB, {"boot-loader"}),
        (ANACONDA, {"installer-failed"}),
        (SUBIQUITY, {"installer-failed"}),
        (DONE, {"installer-done"}),
        (HEALTHY, set()),
    ],
)
def test_what_is_to_be_told_is_and_nothing_else(w: Watched, stream: str, wanted: set[str]) -> None:
    assert told(w, stream) == wanted


def test_the_simulated_guest_panics_and_boots(w: Watched) -> None:
    panic = b"".join(piece for _, piece in texts.panic(77.0)).decode()
    boot = b"".join(piece for _, piece in (*texts.boot("web01"), *texts.shutdown(77.0))).decode()
    assert told(w, boot.replace("\r\n", "\n")) == set()
    assert told(w, panic.replace("\r\n", "\n")) == {"linux-panic"}


def test_every_watch_has_its_stream(w: Watched) -> None:
    names = {watch.name for watch in w.watcher.watches}
    everything = "".join(
        text for name, text in globals().items() if name.isupper() and isinstance(text, str) and name != "HEALTHY"
    )
    assert names - told(w, everything) <= {"windows-boot-failed"}


def test_the_sample_raises_no_doubts() -> None:
    assert list(doubts(read_watches(SAMPLE), None)) == []
