"""What can go wrong on a mirror, as exceptions, each with one line for people.

Owns the exception classes and which outcome of a call becomes which. Does not know where calls come from or
how lines are printed.
"""

from __future__ import annotations

COMMITTED, ABORTED, UNKNOWN, PENDING = 0, 1, 2, 3
"""How a call ended: the numbers of `glas_core.h`."""

OUTCOMES = ("committed", "aborted", "unknown", "pending")
REASONS = (
    "none",
    "failed",
    "error",
    "refused",
    "timeout",
    "bad_input",
    "no_method",
    "bad_verb",
    "busy",
    "starting",
)
"""Why a call was aborted, by number: the GLAS_WHY_... of `glas_core.h`."""

WHY_TIMEOUT = 4
WHY_BUSY = 8


class GlasError(Exception):
    """Anything that a mirror can say in one line."""


class CallError(GlasError):
    """A call that did not commit."""


class Failed(CallError):
    """The method failed: nothing happened."""


class TransactionError(CallError):
    """Overflow, an assertion, memory or `error` in the method: nothing happened."""


class Refused(CallError):
    """A unit that the call needs belongs to a mirror out of reach: nothing happened."""


class TimedOut(CallError):
    """The call waited until its time was over: nothing happened."""


class BadArgument(CallError):
    """Arguments that do not fit, or a method or path that does not exist."""


class Busy(CallError):
    """Too much waits here, or the app has not started yet: try again later."""


class Unknown(CallError):
    """It may or may not have happened: another mirror has the answer."""


class StoreError(GlasError):
    """The store cannot be used: what, where, why and what to do.

    `passing` says that the same operation may succeed later (a full disk, a failing device), with nothing
    lost meanwhile.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class CoreError(GlasError):
    """The core refused its configuration, or the bytes that it was to recover from."""


class BundleError(GlasError):
    """A compiled app that cannot be found, does not fit this machine or is damaged."""


_BY_REASON: dict[int, type[CallError]] = {
    1: Failed,
    2: TransactionError,
    3: Refused,
    4: TimedOut,
    5: BadArgument,
    6: BadArgument,
    7: BadArgument,
    8: Busy,
    9: Busy,
}


def error_for(outcome: int, reason: int, message: str) -> CallError:
    """The exception for a call that ended with `outcome` (not COMMITTED) for `reason`."""
    if outcome != ABORTED:
        return Unknown(message or "no answer in time: it may or may not have happened")
    return _BY_REASON.get(reason, Failed)(message or reason_name(reason))


def reason_name(reason: int) -> str:
    """The stable name of a GLAS_WHY_... number."""
    return REASONS[reason] if 0 <= reason < len(REASONS) else str(reason)
