"""Descriptors: how they are shared out, and the one that is kept for when there are no others."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmproxy.app.descriptors import LEAST, OWN, SpareDescriptor, raise_limit, share_out
from vmproxy.auth.limits import LOGINS_IN_ALL, LoginLimits


@given(st.integers(64, 2_000_000), st.integers(2, 1_000_000), st.integers(1, 1_000_000))
def test_nobody_is_promised_what_there_is_not_and_everybody_something(limit: int, logs: int, operators: int) -> None:
    budget = share_out(limit, logs, operators)
    assert OWN + budget.vms + budget.log_files + budget.unauthenticated <= limit
    assert budget.vms >= min(limit // 2 - OWN, LEAST)
    assert 2 <= budget.log_files <= max(2, logs)
    assert budget.unauthenticated >= 1
    # What VMs do not get is enough for logs and for those who log in.
    assert limit - budget.vms - budget.log_files >= OWN + budget.unauthenticated


def test_with_the_usual_limit_sixteen_thousand_vms_get_in_and_nobody_else_gets_less_than_set() -> None:
    budget = share_out(20_000, 256, 200 + 1000 + 256)
    assert budget.vms > 16_000
    assert budget.log_files == 256
    assert budget.unauthenticated >= 200
    more = share_out(20_000, 1000, 1000 + 1000 + 256)
    assert (more.log_files, more.unauthenticated >= 1000) == (1000, True)


def test_one_operator_does_not_get_what_is_kept_for_all() -> None:
    few = share_out(1024, 256, 200 + 1000 + 256)
    assert few.of_logins(LoginLimits(per_operator=250)).per_operator + few.log_files < few.limit - OWN - few.vms
    assert few.of_logins(LoginLimits(per_operator=10)).per_operator == 10
    assert share_out(20_000, 256, 200 + 1000 + 256).of_logins(LoginLimits(per_operator=250)).per_operator == 250


@given(st.integers(64, 100_000), st.integers(1, 10_000), st.integers(1, 10_000))
def test_those_who_wait_to_log_in_have_descriptors_too(limit: int, before: int, later: int) -> None:
    budget = share_out(limit, 256, LoginLimits(in_all=before).descriptors + LOGINS_IN_ALL)
    for in_all in (before, later):
        limits = budget.of_logins(LoginLimits(in_all=in_all))
        assert limits.descriptors <= budget.unauthenticated
        assert limits.in_all >= min(in_all, budget.unauthenticated * 4 // 5)
    usual = share_out(20_000, 256, LoginLimits().descriptors + LOGINS_IN_ALL)
    assert usual.of_logins(LoginLimits()) == LoginLimits()


def test_the_limit_is_raised_as_far_as_it_may() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
        assert raise_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@contextlib.contextmanager
def no_descriptors(fewer: int = 0) -> Iterator[None]:
    """None is free; or, of those that are open, some are more than there may be."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free - fewer, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)


def test_whoever_waits_is_turned_away_with_the_one_that_is_kept(listening: socket.socket) -> None:
    spare = SpareDescriptor()
    with contextlib.ExitStack() as stack:
        stack.callback(spare.close)
        clients = [stack.enter_context(socket.create_connection(listening.getsockname(), 30)) for _ in range(3)]
        assert spare.hold()
        with no_descriptors():
            with pytest.raises(OSError, match="Too many open files"):
                listening.accept()
            gone = spare.turn_away(listening)
        assert list(gone) == [client.getsockname() for client in clients]
        assert [client.recv(1) for client in clients] == [b""] * 3
        assert spare.hold()


def test_without_one_they_wait_until_there_are_descriptors_again(listening: socket.socket) -> None:
    spare = SpareDescriptor()
    with socket.create_connection(listening.getsockname(), 30) as client:
        with no_descriptors():
            assert not spare.hold()
            assert spare.turn_away(listening) == []
        assert spare.hold()
        connection, address = listening.accept()
        connection.close()
        assert address == client.getsockname()
    spare.close()
    spare.close()
