"""Fixtures: the SSH front without sockets, an authority of certificates, a client of SFTP."""

from tests.support.accounts import authority
from tests.support.fixtures import w
from tests.support.sftp import sftp

__all__ = ["authority", "sftp", "w"]
