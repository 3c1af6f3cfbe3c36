"""A directory of a test's own: OpenLDAP's slapd as a process, with two people and an entry that may search."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemon import PATIENCE, eventually
from tests.support.ports import free_port
from tests.support.tls import write_pem

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/bin:/sbin")
BASE = "dc=example,dc=com"
READER = f"cn=reader,{BASE}"
READER_SECRET = "may search"
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {certificate}
pidfile {folder}/slapd.pid
database mdb
maxsize 10485760
suffix "{base}"
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn="{reader}" read by * none
"""
ENTRIES = """
dn: {base}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {reader}
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: reader
userPassword: {secret}

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people
"""
PERSON = """
dn: uid={uid},ou=people,{base}
objectClass: inetOrgPerson
uid: {uid}
cn: {name}
sn: {name}
userPassword: {secret}
"""


class Directory:
    """A server.

    :ivar clear: its address without TLS, ``secure`` with TLS from the first byte.
    :ivar certificate: what it shows, which is its own authority.
    """

    def __init__(self, folder: Path) -> None:
        self.certificate = write_pem(folder / "slapd.pem", "127.0.0.1")
        clear, secure = free_port(), free_port()
        self.clear, self.secure = f"ldap://127.0.0.1:{clear}", f"ldaps://127.0.0.1:{secure}"
        self._port = clear
        self._configuration = folder / "slapd.conf"
        (folder / "data").mkdir()
        text = CONFIGURATION.format(certificate=self.certificate, folder=folder, base=BASE, reader=READER)
        self._configuration.write_text(text)

    def fill(self, people: dict[str, tuple[str, str]]) -> None:
        """Add people: by uid, name and password."""
        text = ENTRIES.format(base=BASE, reader=READER, secret=READER_SECRET)
        text += "".join(PERSON.format(uid=uid, base=BASE, name=n, secret=s) for uid, (n, s) in people.items())
        command = [str(SLAPD).replace("slapd", "slapadd"), "-f", str(self._configuration)]
        subprocess.run(command, input=text.encode(), check=True, timeout=PATIENCE)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve meanwhile."""
        assert SLAPD is not None
        command = [SLAPD, "-h", f"{self.clear} {self.secure}", "-f", str(self._configuration), "-d", "0"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:

            def answers() -> bool:
                assert process.poll() is None, "slapd has ended"
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", self._port)) == 0

            eventually(answers, "slapd answers")
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)
