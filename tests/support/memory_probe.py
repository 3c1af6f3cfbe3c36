"""Runs in a daemon under test, before everything else: SIGUSR1 has it say what is in circles.

The collector is off, unless ``$PROBE_COLLECTS`` says otherwise.

What it says: a JSON object in the file ``$PROBE``, with the number of objects by type that only the collector can free,
and of all that live. The pools of Twisted's threads make a circle of a function for each job; those are not counted.
"""

from __future__ import annotations

import gc
import json
import os
import signal
from collections import Counter
from typing import Any

# Made once for each TLS context, of which there is one for each configuration.
ONCE = ("twisted.internet._sslverify._ChooseDiffieHellmanEllipticCurve",)

TIMER = "twisted.internet.base.DelayedCall"


def _kind(one: object) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"


def _counted(objects: list[Any]) -> dict[str, int]:
    # Twisted keeps up to fifty timers that were cancelled, until they would have been due.
    found = Counter(_kind(one) for one in objects if not (_kind(one) == TIMER and one.cancelled))
    ours = ("vmproxy.", "twisted.", "OpenSSL.")
    return {kind: n for kind, n in found.items() if kind.startswith(ours) and kind not in ONCE}


def report(*_: object) -> None:
    """Write down what there is, and free it."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    circles = _counted(gc.garbage)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()
    told = {"circles": circles, "living": _counted(gc.get_objects())}
    place = os.environ["PROBE"]
    with open(f"{place}.new", "w") as file:
        file.write(json.dumps(told))
    os.replace(f"{place}.new", place)


if not os.environ.get("PROBE_COLLECTS"):
    gc.disable()
signal.signal(signal.SIGUSR1, report)
