"""Many cases of one kind in one test: to start a test takes ten times as long as such a case."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any


def each(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a test all cases, as ``pytest.mark.parametrize`` does one by one.

    Fixtures are made once: it is for tests whose cases leave nothing behind in them.

    :raises ExceptionGroup: with what each case failed with, and a note of its values.
    """
    all_of_them = tuple(cases)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def with_each(*instance: object, **fixtures: object) -> None:
            assert all_of_them, "there are no cases"
            failed = []
            for case in all_of_them:
                given = {names: case} if isinstance(names, str) else dict(zip(names, case, strict=True))
                try:
                    test(*instance, **given, **fixtures)
                except Exception as error:
                    error.add_note(f"with {given}")
                    failed.append(error)
            if failed:
                raise ExceptionGroup(f"{len(failed)} of {len(all_of_them)} cases", failed)

        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(with_each, name, getattr(test, name))
        signature = inspect.signature(test)
        given = {names} if isinstance(names, str) else {*names}
        kept = [one for name, one in signature.parameters.items() if name not in given]
        with_each.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]  # for pytest
        return with_each

    return decorate
