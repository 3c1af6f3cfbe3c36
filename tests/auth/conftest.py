"""Fixture: the SSH front without sockets."""

from tests.support.fixtures import w

__all__ = ["w"]
