"""The modules that guard bytes and doors, and the tests that have to notice a fault in each."""

from __future__ import annotations

GUARDS: dict[str, tuple[str, ...]] = {
    "vmproxy/wire/telnet.py": ("tests/wire/test_telnet.py", "tests/vm/test_data.py"),
    "vmproxy/wire/options.py": ("tests/wire/test_options.py", "tests/vm/test_session.py"),
    "vmproxy/wire/vmware.py": ("tests/wire/test_vmware.py", "tests/vm/test_identity.py"),
    "vmproxy/wire/comport.py": ("tests/wire/test_comport.py", "tests/vm/test_session_state.py"),
    "vmproxy/vm/admission.py": ("tests/vm/test_admission.py", "tests/vm/test_peer_lockout.py"),
    "vmproxy/console/console.py": ("tests/console", "tests/vm"),
    "vmproxy/console/link_queue.py": ("tests/console", "tests/vm"),
    "vmproxy/console/migration.py": (
        "tests/console",
        "tests/vm/test_vmotion.py",
        "tests/vm/test_vmotion_peer.py",
        "tests/vm/test_vmotion_model.py",
    ),
    "vmproxy/console/migrations.py": (
        "tests/console",
        "tests/vm/test_vmotion.py",
        "tests/vm/test_vmotion_peer.py",
        "tests/vm/test_vmotion_model.py",
    ),
    "vmproxy/console/duplicates.py": ("tests/console", "tests/vm/test_second.py"),
    "vmproxy/console/registry.py": ("tests/console", "tests/vm"),
    "vmproxy/console/journal.py": ("tests/console/test_journal.py",),
    "vmproxy/log/writer.py": ("tests/log",),
    "vmproxy/log/rotation.py": ("tests/log/test_rotation.py", "tests/log"),
    "vmproxy/log/files.py": ("tests/log/test_rotation.py", "tests/log"),
    "vmproxy/log/compression.py": ("tests/log/test_compression.py", "tests/log/test_rotation_faults.py"),
    "vmproxy/log/recovery.py": ("tests/log/test_offset.py", "tests/log"),
    "vmproxy/access/policy.py": ("tests/access", "tests/operators/test_visible.py"),
    "vmproxy/auth/authenticator.py": ("tests/ssh", "tests/auth"),
    "vmproxy/auth/certificates.py": ("tests/auth/test_certificates.py", "tests/auth"),
    "vmproxy/auth/authorized_keys.py": ("tests/auth/test_authorized_keys.py", "tests/auth", "tests/ssh/test_login.py"),
    "vmproxy/auth/revocation.py": ("tests/auth/test_revocation.py",),
    "vmproxy/auth/limits.py": ("tests/auth/test_limits.py", "tests/ssh/test_login.py"),
    "vmproxy/base/deadlines.py": ("tests/base/test_deadlines.py",),
    "vmproxy/operators/resolve.py": ("tests/operators/test_target.py", "tests/operators/test_visible.py"),
    "vmproxy/app/descriptors.py": ("tests/app/test_descriptors.py",),
}
"""By module: its own tests first; what these let pass, the others must notice."""

EQUIVALENT: set[tuple[str, str]] = {
    ("vmproxy/auth/revocation.py", "without len(digest.rstrip(b'=')) == 43"),  # what it decodes to is measured too
}
"""Faults that change nothing that matters, each found by looking at a survivor."""
