"""The states and inputs of a VM session, and the table of what each input does in each state.

========== =====================================================================
guarded    must switch to TLS first; nothing that the host says is believed
open       it is not known which console this is
claiming   the console is known and asked for
peering    a vMotion's pair was shown; is it one?
arriving   it is; the console comes with COMPLETE
completing COMPLETE has come
queued     the console is served, but the connection before is still being heard
serving    the console is served
retired    another connection serves the console; what still comes is recorded
closed     nothing more is looked at; what was kept may still be handed on
========== =====================================================================

In ``claiming``, ``peering`` and ``completing`` the driver was asked something, and nothing that the host sends is
looked at before the answer.
"""

from __future__ import annotations

GUARDED, OPEN, CLAIMING, PEERING, ARRIVING = "guarded", "open", "claiming", "peering", "arriving"
COMPLETING, QUEUED, SERVING, RETIRED, CLOSED = "completing", "queued", "serving", "retired", "closed"
STATES = (GUARDED, OPEN, CLAIMING, PEERING, ARRIVING, COMPLETING, QUEUED, SERVING, RETIRED, CLOSED)
ASKING = frozenset((CLAIMING, PEERING, COMPLETING))
CARRYING = frozenset((QUEUED, SERVING, RETIRED))
HEARD = frozenset((SERVING, RETIRED))

# From the host: serial data; enough to know the console; the suboptions of vMotion.
DATA, KNOWN, BEGIN, PEER, COMPLETE, ABORT = "data", "known", "BEGIN", "PEER", "COMPLETE", "ABORT"
# From the driver: TLS has begun; answers to a claim, to PEER, to COMPLETE; the console's; the end.
TLS, REFUSED, LATER, ACCEPTED, UNKNOWN, FAILED = "TLS", "refused", "later", "accepted", "unknown", "failed"
WAIT, SERVE, RETIRE, RELEASE, CLOSE = "wait", "serve", "retire", "release", "close"
FROM_HOST = (DATA, KNOWN, BEGIN, PEER, COMPLETE, ABORT)
FROM_DRIVER = (TLS, REFUSED, LATER, ACCEPTED, UNKNOWN, FAILED, WAIT, SERVE, RETIRE, RELEASE, CLOSE)

TABLE: dict[tuple[str, str], tuple[str, str]] = {
    # Nothing is believed in clear.
    (GUARDED, DATA): (GUARDED, "forget"),
    (GUARDED, TLS): (OPEN, ""),
    # No console yet.
    (OPEN, DATA): (OPEN, "keep"),
    (OPEN, KNOWN): (CLAIMING, "ask_claim"),
    (OPEN, BEGIN): (OPEN, "not_now"),
    (OPEN, PEER): (PEERING, "ask_peer"),
    (OPEN, COMPLETE): (OPEN, "stray_complete"),
    (OPEN, ABORT): (OPEN, "stray_abort"),
    # Questions.
    (CLAIMING, WAIT): (QUEUED, ""),
    (CLAIMING, SERVE): (SERVING, ""),
    (CLAIMING, REFUSED): (OPEN, ""),
    (CLAIMING, LATER): (OPEN, ""),
    (PEERING, ACCEPTED): (ARRIVING, ""),
    (PEERING, UNKNOWN): (OPEN, ""),
    (COMPLETING, WAIT): (QUEUED, ""),
    (COMPLETING, SERVE): (SERVING, ""),
    (COMPLETING, FAILED): (ARRIVING, ""),
    (COMPLETING, RELEASE): (OPEN, ""),
    # The destination of a vMotion.
    (ARRIVING, DATA): (ARRIVING, "keep"),
    (ARRIVING, BEGIN): (ARRIVING, "not_now"),
    (ARRIVING, PEER): (ARRIVING, "refuse_peer"),
    (ARRIVING, COMPLETE): (COMPLETING, "ask_complete"),
    (ARRIVING, ABORT): (ARRIVING, "stray_abort"),
    (ARRIVING, WAIT): (QUEUED, ""),
    (ARRIVING, SERVE): (SERVING, ""),
    (ARRIVING, RELEASE): (OPEN, ""),
    # The console is here, its output not yet.
    (QUEUED, DATA): (QUEUED, "keep_all"),
    (QUEUED, BEGIN): (QUEUED, "ask_begin"),
    (QUEUED, PEER): (QUEUED, "refuse_peer"),
    (QUEUED, COMPLETE): (QUEUED, "stray_complete"),
    (QUEUED, ABORT): (QUEUED, "ask_abort"),
    (QUEUED, SERVE): (SERVING, ""),
    # The console is here.
    (SERVING, DATA): (SERVING, "output"),
    (SERVING, BEGIN): (SERVING, "ask_begin"),
    (SERVING, PEER): (SERVING, "refuse_peer"),
    (SERVING, COMPLETE): (SERVING, "stray_complete"),
    (SERVING, ABORT): (SERVING, "ask_abort"),
    (SERVING, RETIRE): (RETIRED, ""),
    # The console is elsewhere.
    (RETIRED, DATA): (RETIRED, "output"),
    (RETIRED, BEGIN): (RETIRED, "not_now"),
    (RETIRED, PEER): (RETIRED, "refuse_peer"),
    (RETIRED, COMPLETE): (RETIRED, "stray_complete"),
    (RETIRED, ABORT): (RETIRED, "ask_abort"),
    # What was told may still be claimed, so that what was said is heard.
    (CLOSED, KNOWN): (CLOSED, "ask_claim"),
    # A connection can be closed at any time.
    **{(state, CLOSE): (CLOSED, "") for state in STATES},
}
"""(state, input) -> (next state, what the session does). What is not in it changes and does nothing."""


def table_text() -> str:
    """The table for people to read: a line for each entry."""
    return "\n".join(
        f"{state:10} {what:9} -> {after:10} {does.replace('_', ' ')}".rstrip()
        for (state, what), (after, does) in TABLE.items()
    )
