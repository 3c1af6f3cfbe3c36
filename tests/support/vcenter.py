"""A vCenter for tests: as much of its SOAP and REST interfaces as a reading takes, over TLS, on a port of its own."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree
from xml.sax.saxutils import escape

PAGE = 2
BIOS = UUID(int=0xB105)
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
)
_TAIL = "</soapenv:Body></soapenv:Envelope>"
_CONTENT = "".join(
    f'<{name} type="{kind}">{kind}</{name}>'
    for name, kind in (
        ("rootFolder", "Folder"),
        ("propertyCollector", "PropertyCollector"),
        ("viewManager", "ViewManager"),
        ("sessionManager", "SessionManager"),
        ("customFieldsManager", "CustomFieldsManager"),
    )
)


@dataclass
class SomeVM:
    """A VM of it."""

    uuid: UUID
    bios: UUID = BIOS
    name: str = "vm"
    folder: str = "group-web"
    power: str = "poweredOn"
    note: str = ""
    template: bool = False
    custom: dict[int, str] = field(default_factory=dict)


def ref(kind: str, name: str) -> str:
    return f'<val type="{kind}" xsi:type="ManagedObjectReference">{name}</val>'


def text(value: str, kind: str = "xsd:string") -> str:
    return f'<val xsi:type="{kind}">{escape(value)}</val>'


class FakeVCenter:
    """The server.

    :ivar vms: by their ids.
    :ivar tags: category and name, with the ids of VMs, by the tag's id; None: there is no REST API.
    :ivar asked: the methods that were called.
    :ivar sessions: how many have logged in and not out.
    """

    def __init__(self, pem: Path, password: str = "pass") -> None:
        self.vms: dict[str, SomeVM] = {}
        self.tags: dict[str, tuple[str, str, list[str]]] | None = {}
        self.password = password
        self.nonsense = False
        self.asked: list[str] = []
        self.sessions = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if fake.nonsense:
                    status, data = 200, b"<html>Hello"
                elif self.path == "/sdk":
                    status, data = fake.soap(body)
                else:
                    status, data = fake.rest(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # SOAP.

    def soap(self, body: bytes) -> tuple[int, bytes]:
        call = next(iter(ElementTree.fromstring(body).iter("{http://schemas.xmlsoap.org/soap/envelope/}Body")))[0]
        method = call.tag.partition("}")[2]
        self.asked.append(method)
        found = self._called(method, call)
        if found is None:
            fault = '<detail><InvalidLoginFault xmlns="urn:vim25" xsi:type="InvalidLogin"/></detail>'
            text = f"<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring>{fault}"
            return 500, f"{_HEAD}{text}</soapenv:Fault>{_TAIL}".encode()
        return 200, f'{_HEAD}<{method}Response xmlns="urn:vim25">{found}</{method}Response>{_TAIL}'.encode()

    def _called(self, method: str, call: ElementTree.Element) -> str | None:
        told = {one.tag.partition("}")[2]: one.text or "" for one in call.iter()}
        match method:
            case "RetrieveServiceContent":
                return f"<returnval>{_CONTENT}</returnval>"
            case "Login" if told["password"] == self.password:
                self.sessions += 1
                return "<returnval><key>k</key><userName>u</userName></returnval>"
            case "Login":
                return None
            case "Logout":
                self.sessions -= 1
                return ""
            case "CreateContainerView":
                return f'<returnval type="ContainerView">{told["type"]}</returnval>'
            case "Fetch":
                return self._objects("CustomFieldsManager")["CustomFieldsManager"]["field"].replace("val", "returnval")
            case "RetrievePropertiesEx":
                return self._page(told["obj"], 0)
            case "ContinueRetrievePropertiesEx":
                kind, _, start = told["token"].partition(" ")
                return self._page(kind, int(start))
        return ""

    def _page(self, kind: str, start: int) -> str:
        every = list(self._objects(kind).items())
        some = every[start : start + PAGE]
        objects = "".join(
            f'<objects><obj type="{kind}">{name}</obj>'
            + "".join(f"<propSet><name>{key}</name>{value}</propSet>" for key, value in properties.items())
            + "</objects>"
            for name, properties in some
        )
        more = f"<token>{kind} {start + PAGE}</token>" if start + PAGE < len(every) else ""
        return f"<returnval>{more}{objects}</returnval>" if some else ""

    def _objects(self, kind: str) -> dict[str, dict[str, str]]:
        match kind:
            case "CustomFieldsManager":
                defs = "<CustomFieldDef><key>1</key><name>Owner</name><type>xsd:string</type></CustomFieldDef>"
                defs += "<CustomFieldDef><key>2</key><name>folder</name><type>xsd:string</type></CustomFieldDef>"
                return {kind: {"field": f'<val xsi:type="ArrayOfCustomFieldDef">{defs}</val>'}}
            case "HostSystem":
                return {"host-1": {"name": text("esx01.example"), "parent": ref("ClusterComputeResource", "domain-1")}}
            case "ClusterComputeResource":
                return {"domain-1": {"name": text("Blue %2f Green")}}
            case "Datacenter":
                return {"dc-1": {"name": text("Bonn"), "vmFolder": ref("Folder", "group-v1")}}
            case "Folder":
                return {
                    "group-v1": {"name": text("vm"), "parent": ref("Datacenter", "dc-1")},
                    "group-prod": {"name": text("Prod"), "parent": ref("Folder", "group-v1")},
                    "group-web": {"name": text("Web"), "parent": ref("Folder", "group-prod")},
                }
        return {name: self._vm(vm) for name, vm in self.vms.items()}

    @staticmethod
    def _vm(vm: SomeVM) -> dict[str, str]:
        custom = "".join(
            f'<CustomFieldValue xsi:type="CustomFieldStringValue"><key>{key}</key><value>{escape(value)}</value>'
            "</CustomFieldValue>"
            for key, value in vm.custom.items()
        )
        return {
            "config.instanceUuid": text(str(vm.uuid)),
            "config.uuid": text(str(vm.bios)),
            "config.template": text(str(vm.template).lower(), "xsd:boolean"),
            "config.annotation": text(vm.note),
            "runtime.host": ref("HostSystem", "host-1"),
            "runtime.powerState": text(vm.power, "VirtualMachinePowerState"),
            "parent": ref("Folder", vm.folder),
            "customValue": f'<val xsi:type="ArrayOfCustomFieldValue">{custom}</val>',
        }

    # REST.

    def rest(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path.partition('?')[0].rpartition('/')[2].partition(':')[0]}")
        if self.tags is None:
            return 404, b"{}"
        name = path.rpartition("id:")[2]
        value: Any = "session"
        if path.endswith("/tagging/tag"):
            value = list(self.tags)
        elif "/tag/id:" in path:
            value = {"category_id": f"c-{self.tags[name][0]}", "name": self.tags[name][1]}
        elif "/category/id:" in path:
            value = {"name": name.removeprefix("c-")}
        elif "tag-association" in path:
            value = [
                {"tag_id": tag, "object_ids": [{"id": vm, "type": "VirtualMachine"} for vm in self.tags[tag][2]]}
                for tag in json.loads(body)["tag_ids"]
            ]
        return 200, json.dumps({"value": value}).encode()
