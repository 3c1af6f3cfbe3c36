"""Fixtures: the front without sockets, and what it logged."""

from tests.support.fixtures import logged, w

__all__ = ["logged", "w"]
