"""A vCenter and the real daemon: labels for rules and lists, and a vCenter that goes away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID

from tests.support.daemon import Daemon, eventually
from tests.support.host import FakeVM
from tests.support.tls import write_pem
from tests.support.vcenter import FakeVCenter, SomeVM


def test_labels_of_a_vcenter(
    tmp_path: Path, make_daemon: Callable[..., Daemon], make_vm: Callable[..., FakeVM]
) -> None:
    pem = write_pem(tmp_path / "vc.pem", "127.0.0.1")
    (tmp_path / "password").write_text("pass\n")
    vcenter = FakeVCenter(pem)
    settings = dedent(f"""
        [vcenter]
        server = "127.0.0.1:{vcenter.port}"
        user = "u"
        password-file = "{tmp_path}/password"
        ca-file = "{pem}"
        rules = ["folder"]
        [[rule]]
        who = "*"
        may = ["write"]
        on = ["tag:folder=prod/web"]
        """)
    try:
        daemon = make_daemon("")
        web, _ = make_vm(daemon, "web01"), make_vm(daemon, "db01")
        eventually(lambda: daemon.status("db01") and daemon.status("web01"), "both are known")
        vcenter.vms = {"vm-1": SomeVM(UUID(str(web.uuid))), "vm-2": SomeVM(UUID(int=5), folder="group-v1")}
        vcenter.tags = {"t": ("Role", "proxy", ["vm-1"])}
        daemon.reload(settings)

        def listed() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = json.loads(daemon.run("list", "--json").stdout)
            return found

        eventually(listed, "the rule lets in to what vCenter has in the folder")
        (one,) = listed()
        assert one["name"] == "web01"
        assert one["labels"]["folder"] == ["Prod/Web"]
        assert one["labels"]["Role"] == ["proxy"]
    finally:
        vcenter.close()
    daemon.stop()
    daemon.start()  # without a vCenter
    eventually(listed, "what was read is kept")
    assert [console["name"] for console in listed()] == ["web01"]
