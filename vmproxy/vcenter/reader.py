"""One reading of a vCenter, by pyVmomi's property collector. All of this blocks, and is for a thread.

VMs are asked for a page at a time, with the few properties that are needed. Hosts, clusters, folders and datacenters
are read likewise, so that each has its name and its place once, however many VMs there are.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vim as _vim
from pyVmomi import vmodl as _vmodl
from pyVmomi.SoapAdapter import SoapStubAdapter as _SoapStubAdapter

from vmproxy.access.labels import Pair
from vmproxy.base.text_file import first_line
from vmproxy.errors import VMProxyError
from vmproxy.vcenter.inventory import VM, VMS_LIMIT, label, named_by_people, number
from vmproxy.vcenter.settings import VCenterSettings
from vmproxy.vcenter.tags import tags_of

PAGE = 500
ANSWER_SECONDS = 60.0
DEPTH = 32  # of folders

vim: Any = _vim
vmodl: Any = _vmodl
SoapStubAdapter: Any = _SoapStubAdapter

_VERSION = "vim.version.version10"  # of vSphere 6.0: later ones understand it
_POWER = {"poweredOn": "on", "poweredOff": "off", "suspended": "suspended"}
_VM = (
    "config.instanceUuid",
    "config.uuid",
    "config.template",
    "config.annotation",
    "runtime.host",
    "runtime.powerState",
    "parent",
    "customValue",
)
_OTHERS: dict[Any, tuple[str, ...]] = {
    vim.HostSystem: ("name", "parent"),
    vim.ClusterComputeResource: ("name",),
    vim.Folder: ("name", "parent"),
}
_OTHERS[vim.Datacenter] = ("name", "vmFolder")


class CannotRead(VMProxyError):
    """A vCenter that cannot be read; the text says why."""


def read(settings: VCenterSettings) -> list[VM]:
    """All VMs of a vCenter, templates left out.

    :raises CannotRead, ConfigError: if that is not possible now.
    """
    host, port = settings.address
    assert settings.password_file is not None
    try:
        password = first_line(settings.password_file, "vcenter.password-file")
        context = ssl.create_default_context(cafile=settings.ca_file)
        stub = SoapStubAdapter(
            host, port, version=_VERSION, sslContext=context, poolSize=1, httpConnectionTimeout=ANSWER_SECONDS
        )
        try:
            content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
            content.sessionManager.Login(settings.user, password)
            try:
                tags = tags_of((host, port), context, settings.user, password) if settings.tags else {}
                return list(_vms(content, tags))
            finally:
                with suppress(Exception):  # the session ends by itself
                    content.sessionManager.Logout()
        finally:
            stub.DropConnections()
    except vim.fault.InvalidLogin:
        raise CannotRead(f"{settings.server}: the user or the password is wrong") from None
    except vmodl.MethodFault as error:
        raise CannotRead(f"{settings.server}: {error.msg or type(error).__name__}") from None
    except ssl.SSLCertVerificationError as error:
        raise CannotRead(f"{settings.server}: its certificate is not trusted: {error.verify_message}") from None
    except ExpatError:
        raise CannotRead(f"{settings.server}: it answers something else than a vCenter") from None
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CannotRead(f"{settings.server}: {why}") from None


def _vms(content: Any, tags: dict[str, list[Pair]]) -> Iterator[VM]:
    names = {
        field.key: field.name for field in (content.customFieldsManager.field if content.customFieldsManager else ())
    }
    known: dict[str, dict[str, Any]] = {}
    roots: dict[str, str] = {}  # the datacenters by their folders of VMs
    for kind, properties in _OTHERS.items():
        for thing, found in _objects(content, kind, properties):
            known[thing] = found
            if "vmFolder" in found:
                roots[_id(found["vmFolder"])] = found["name"]
    for count, (thing, found) in enumerate(_objects(content, vim.VirtualMachine, _VM)):
        if count >= VMS_LIMIT:
            raise CannotRead(f"more than {VMS_LIMIT:,} VMs")
        uuid = number(found.get("config.instanceUuid"))
        if not uuid or found.get("config.template"):
            continue
        custom = [(names.get(one.key, ""), str(getattr(one, "value", ""))) for one in found.get("customValue", ())]
        own = [pair for pair in _own(found, known, roots) if pair is not None]
        labels = (*own, *named_by_people([*custom, *tags.get(thing, ())]))
        yield VM(uuid, number(found.get("config.uuid")), labels)


def _own(found: dict[str, Any], known: dict[str, dict[str, Any]], roots: dict[str, str]) -> Iterator[Pair | None]:
    datacenter, folder = _place(found.get("parent"), known, roots)
    host = known.get(_id(found.get("runtime.host")), {})
    cluster = known.get(_id(host.get("parent")), {})
    yield label("datacenter", datacenter)
    yield label("folder", folder)
    yield label("cluster", _plain(cluster.get("name", "")))
    yield label("esx", _plain(host.get("name", "")))
    yield label("power", _POWER.get(str(found.get("runtime.powerState")), ""))
    yield label("note", found.get("config.annotation") or "")


def _place(parent: Any, known: dict[str, dict[str, Any]], roots: dict[str, str]) -> tuple[str, str]:
    """The datacenter, and the path of the folder in it."""
    path: list[str] = []
    thing = _id(parent)
    for _ in range(DEPTH):
        if thing in roots:
            return _plain(roots[thing]), "/".join(reversed(path))
        folder = known.get(thing)
        if folder is None:
            break
        path.append(_plain(folder.get("name", "")))
        thing = _id(folder.get("parent"))
    return "", "/".join(reversed(path))


def _id(thing: Any) -> str:
    return "" if thing is None else str(thing).strip("'").rpartition(":")[2]  # 'vim.Folder:group-v3'


def _plain(name: str) -> str:
    """A name as people see it: vCenter writes these three characters so."""
    return name.replace("%2f", "/").replace("%5c", "\\").replace("%25", "%")


def _objects(content: Any, kind: type, properties: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All objects of a kind, by their ids, with the properties that they have."""
    collector = vmodl.query.PropertyCollector
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    try:
        through = collector.TraversalSpec(name="view", path="view", skip=False, type=type(view))
        wanted = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[through])],
            propSet=[collector.PropertySpec(type=kind, pathSet=list(properties))],
        )
        page = content.propertyCollector.RetrievePropertiesEx([wanted], collector.RetrieveOptions(maxObjects=PAGE))
        while page is not None:
            for one in page.objects:
                yield _id(one.obj), {found.name: found.val for found in one.propSet}
            page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token) if page.token else None
    finally:
        with suppress(Exception):
            view.DestroyView()
