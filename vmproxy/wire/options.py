"""Telnet option negotiation by the Q method (RFC 1143), which cannot loop.

Each option has two sides, ours ("us", answered with WILL/WONT) and the peer's ("peer", answered with DO/DONT), and each
side is in one of seven states. A connection that lives for months keeps them as three bits each in one integer: with
16,000 consoles in a process, an object per option would be a large part of the memory.

Beyond the RFC: an option that is not wanted is refused once and further offers of it get no answer, so that a peer
which insists cannot make us talk for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from vmproxy.wire.telnet import (
    AUTHENTICATION,
    BINARY,
    COM_PORT,
    DO,
    DONT,
    ECHO,
    SGA,
    VMWARE_EXT,
    WILL,
    WONT,
    negotiation,
)


class Side(IntEnum):
    """The side of an option: ours (WILL/WONT from us) or the peer's."""

    US = 0
    PEER = 1

    __hash__ = int.__hash__  # an enumeration's own is in Python, and every negotiation looks up several


_NO, _YES, _WANT_NO, _WANT_NO_THEN_YES, _WANT_YES, _WANT_YES_THEN_NO = range(6)
_OFFERED = 6  # off, and an offer of the peer's stands that got no answer because it had been refused before
_NEGOTIABLE = (BINARY, ECHO, SGA, AUTHENTICATION, COM_PORT, VMWARE_EXT)
_SHIFT = {(option, side): 6 * n + 3 * side for n, option in enumerate(_NEGOTIABLE) for side in (Side.US, Side.PEER)}
# What we say to turn a side on and off.
_ON = {Side.US: WILL, Side.PEER: DO}
_OFF = {Side.US: WONT, Side.PEER: DONT}
_MEANING = {WILL: (Side.PEER, True), WONT: (Side.PEER, False), DO: (Side.US, True), DONT: (Side.US, False)}


class Acceptable:
    """Which offers to agree to, shared by all connections of one configuration."""

    __slots__ = ("_sides",)

    def __init__(self, us: Iterable[int], peer: Iterable[int]) -> None:
        """
        :param us: options that we will perform when asked.
        :param peer: options that the peer may perform when it offers.
        :raises ValueError: for an option that this module keeps no state for.
        """
        self._sides = frozenset([(o, Side.US) for o in us] + [(o, Side.PEER) for o in peer])
        unknown = self._sides - _SHIFT.keys()
        if unknown:
            raise ValueError(f"not negotiable here: {sorted(unknown)}")

    def __contains__(self, option_and_side: tuple[int, Side]) -> bool:
        return option_and_side in self._sides


@dataclass(frozen=True, slots=True)
class OptionsState:
    """Every option of one connection as bits: three for its state, one for a refusal."""

    states: int
    refused: int


class Options:
    """The state of every option of one connection."""

    __slots__ = ("_acceptable", "_refused", "_states")

    def __init__(self, acceptable: Acceptable) -> None:
        self._acceptable = acceptable
        self._states = 0
        self._refused = 0  # one bit per option and side

    def copy(self) -> Options:
        """Another connection's options, in the state that these are in now."""
        other = Options(self._acceptable)
        other._states = self._states
        other._refused = self._refused
        return other

    def accepts(self, option: int, side: Side) -> bool:
        """Whether an offer of the option would be agreed to."""
        return (option, side) in self._acceptable

    def snapshot(self) -> OptionsState:
        return OptionsState(self._states, self._refused)

    def restore(self, state: OptionsState) -> None:
        """Go on where another connection's options were."""
        self._states = state.states
        self._refused = state.refused

    def enabled(self, option: int, side: Side) -> bool:
        """Whether the side performs the option now; an open request does not count."""
        shift = _SHIFT.get((option, side))
        if shift is None:
            return False
        state = (self._states >> shift) & 7
        # The peer goes on until it confirms that it has stopped; we stop where we say so in the stream.
        return state == _YES or (side is Side.PEER and state in (_WANT_NO, _WANT_NO_THEN_YES))

    def ask(self, option: int, side: Side, on: bool) -> bytes:
        """Ask for a side of an option to be turned on or off.

        :returns: the bytes to send; empty where it is so already or has been asked for.
        :raises KeyError: for an option that this module keeps no state for.
        """
        shift = _SHIFT[option, side]
        state = (self._states >> shift) & 7
        send = b""
        if on:
            if state == _NO:
                state = _WANT_YES
                send = negotiation(_ON[side], option)
            elif state == _OFFERED:
                state = _YES
                send = negotiation(_ON[side], option)
            elif state == _WANT_NO:
                state = _WANT_NO_THEN_YES
            elif state == _WANT_YES_THEN_NO:
                state = _WANT_YES
        elif state == _YES:
            state = _WANT_NO
            send = negotiation(_OFF[side], option)
        elif state == _WANT_YES:
            state = _WANT_YES_THEN_NO
        elif state == _WANT_NO_THEN_YES:
            state = _WANT_NO
        self._set(shift, state)
        return send

    def received(self, verb: int, option: int) -> bytes:
        """Take in WILL, WONT, DO or DONT from the peer.

        :returns: the answer to send; empty where none is due. What changed can be seen with :meth:`enabled`.
        """
        side, on = _MEANING[verb]
        shift = _SHIFT.get((option, side))
        if shift is None:
            return self._refuse(option, side) if on else b""
        state = (self._states >> shift) & 7
        send = b""
        if on:
            if state in (_NO, _OFFERED):
                if (option, side) not in self._acceptable:
                    send = self._refuse(option, side)
                    self._set(shift, _NO if send else _OFFERED)
                    return send
                state = _YES
                send = negotiation(_ON[side], option)
            elif state in (_WANT_NO, _WANT_YES_THEN_NO):
                # RFC 1143: a yes to our "stop" is an error, taken as a no; a yes about which we have since changed our
                # mind is followed by the "stop".
                if state == _WANT_YES_THEN_NO:
                    send = negotiation(_OFF[side], option)
                    state = _WANT_NO
                else:
                    state = _NO
            else:  # _WANT_NO_THEN_YES, _WANT_YES; and _YES, which needs nothing
                state = _YES
        elif state == _YES:
            state = _NO
            send = negotiation(_OFF[side], option)
        elif state == _WANT_NO_THEN_YES:
            state = _WANT_YES
            send = negotiation(_ON[side], option)
        else:
            state = _NO
        self._set(shift, state)
        return send

    def _set(self, shift: int, state: int) -> None:
        self._states = self._states & ~(7 << shift) | state << shift

    def _refuse(self, option: int, side: Side) -> bytes:
        bit = 1 << (2 * option + side)
        if self._refused & bit:
            return b""
        self._refused |= bit
        return negotiation(_OFF[side], option)
