"""Forms: what TOML may give for a setting, as a JSON schema, for editors and other tools.

A kind of settings is a function, and the function alone knows what is right. What a schema can say of that, the kind
says with :func:`formed`; of one that says nothing, a string is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Form = dict[str, Any]
"""A JSON schema."""

K = TypeVar("K", bound=Callable[[Any], Any])

STRING: Form = {"type": "string"}
_FORMS: WeakKeyDictionary[Callable[[Any], Any], Form] = WeakKeyDictionary()


def formed(form: Form) -> Callable[[K], K]:
    """A decorator for kinds of settings."""

    def decorated(kind: K) -> K:
        _FORMS[kind] = form
        return kind

    return decorated


def form_of(kind: Callable[[Any], Any]) -> Form:
    """What TOML may give for a kind of settings."""
    return _FORMS.get(kind, STRING)


def any_of(*forms: Form) -> Form:
    return {"anyOf": list(forms)}
