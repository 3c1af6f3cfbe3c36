"""The number of examples of a property test, in proportion to the hypothesis profile of the run."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def examples(number: int, **options: Any) -> settings:
    """Settings for a test that tries so many examples under a profile of 100."""
    return settings(max_examples=max(1, number * settings().max_examples // 100), **options)
