"""UUIDs that are made and spelled by ourselves are those of the standard library."""

from __future__ import annotations

import copy
import pickle
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from vmproxy.base.uuids import spelled, uuid_of


@given(st.uuids())
def test_a_uuid_is_the_one_that_the_constructor_makes(uuid: UUID) -> None:
    ours = uuid_of(uuid.int)
    assert ours == uuid
    assert hash(ours) == hash(uuid)
    assert (str(ours), repr(ours), ours.hex, ours.bytes) == (str(uuid), repr(uuid), uuid.hex, uuid.bytes)
    assert ours.is_safe == uuid.is_safe
    assert copy.deepcopy(ours) == pickle.loads(pickle.dumps(ours)) == uuid
    assert spelled(uuid) == spelled(ours) == str(uuid)
