"""What can go wrong, one class for each thing that a caller may react to.

Messages name the thing, what was found, what was expected and what to do; they are the
same as those of the command line. Where Python has a class of its own for it, ours is a
subclass of that too: ``except FileNotFoundError`` catches a `NotFoundError`.
"""

from __future__ import annotations


class DncError(Exception):
    """The base of all errors of this package."""

    #: The code's name, as in JSON and logs: "not_found".
    code: str = "internal"

    @property
    def message(self) -> str:
        return str(self)


class InvalidArgumentError(DncError, ValueError):
    """The caller's or the user's input is wrong."""

    code = "invalid_argument"


class NotFoundError(DncError, FileNotFoundError):
    """The named thing is not there."""

    code = "not_found"


class AlreadyExistsError(DncError, FileExistsError):
    """The named thing is there already, with other contents."""

    code = "already_exists"


class CorruptError(DncError, ValueError):
    """Bytes that fail a checksum or break their format."""

    code = "corrupt"


class UnsupportedError(DncError, ValueError):
    """Well-formed, but of a later version or of an unknown kind."""

    code = "unsupported"


class TooLargeError(DncError, ValueError):
    """Beyond a stated limit."""

    code = "too_large"


class UnauthenticatedError(DncError, PermissionError):
    """No token, a wrong password, or an expired token."""

    code = "unauthenticated"


class PermissionDeniedError(DncError, PermissionError):
    """A valid token, but not for this."""

    code = "permission_denied"


class StaleError(DncError, RuntimeError):
    """Something that is no longer current, such as the state of a stream of other data."""

    code = "stale"


class UnavailableError(DncError, ConnectionError):
    """A network or server that may work later."""

    code = "unavailable"


class ResourceExhaustedError(DncError, OSError):
    """The disk is full, or a limit on memory or files is reached."""

    code = "resource_exhausted"


class CancelledError(DncError, RuntimeError):
    """Stopped by the user."""

    code = "cancelled"


class IoError(DncError, OSError):
    """The operating system refused an operation."""

    code = "io"


class InternalError(DncError, RuntimeError):
    """Our own bug, found where it could still be reported."""

    code = "internal"


#: The class of each code's name.
BY_CODE: dict[str, type[DncError]] = {
    error.code: error
    for error in (
        InvalidArgumentError, NotFoundError, AlreadyExistsError, CorruptError, UnsupportedError,
        TooLargeError, UnauthenticatedError, PermissionDeniedError, StaleError, UnavailableError,
        ResourceExhaustedError, CancelledError, IoError, InternalError,
    )
}
