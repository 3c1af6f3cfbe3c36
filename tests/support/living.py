"""Objects that live on although nobody can reach them any more: the collector is off, so what is in a circle stays."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_left(*kinds: type) -> Iterator[None]:
    """See that what comes to be inside, of these kinds, is gone behind it, by reference counting alone."""
    gc.collect()
    gc.freeze()  # what there is already is not listed below
    gc.disable()
    try:
        yield
        living = (one for one in gc.get_objects() if issubclass(type(one), kinds))
        left = Counter(type(one).__qualname__ for one in living)
    finally:
        gc.enable()
    assert not left, f"these live on: {dict(left)}"
