"""UUIDs and their spelling with less effort than :class:`uuid.UUID` makes: a storm of VMs asks for thousands."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID, SafeUUID

_new, _set = object.__new__, object.__setattr__


def uuid_of(number: int) -> UUID:
    """``UUID(int=number)`` in a third of the time.

    :param number: of at most 128 bits; that is not looked at.
    """
    uuid = _new(UUID)
    _set(uuid, "int", number)
    _set(uuid, "is_safe", SafeUUID.unknown)
    return uuid


def spelled(uuid: UUID) -> str:
    """``str(uuid)``; several ask for that of the same one after the other."""
    return _spelled(uuid.int)


@lru_cache(4)
def _spelled(number: int) -> str:
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
