"""What can go wrong while reading the log. Every exception here is a :class:`ReaderError`."""

__all__ = [
    "Detached",
    "LogFormatError",
    "LogNotFound",
    "Overrun",
    "OverrunWarning",
    "ReaderError",
    "ReaderNameInUse",
    "WrongProcess",
]


class ReaderError(Exception):
    """The log can't be read; subclasses say why."""


class LogNotFound(ReaderError, FileNotFoundError):
    """There is no log in this directory: the service has not been started with it."""


class LogFormatError(ReaderError):
    """What lies in the directory is no log that this version can read: foreign, truncated, or of another layout."""


class WrongProcess(ReaderError):
    """The reader was opened in another process: after a fork, open a reader of another name in the child."""


class ReaderNameInUse(ReaderError):
    """A living reader holds this name.

    ``name`` is the name, ``pid`` the process that holds it, as it was recorded when the name was claimed (in that
    process's own pid namespace: it is for people, nothing is decided by it).
    """

    def __init__(self, message: str, name: str = "", pid: int = 0) -> None:
        super().__init__(message)
        self.name = name
        self.pid = pid


class _Gap(ReaderError):
    """Events that this reader has not seen and can't see any more."""

    def __init__(self, message: str, missed: int = 0, first_sequence: int = 0, next_sequence: int = 0) -> None:
        super().__init__(message)
        self.missed = missed
        self.first_sequence = first_sequence
        self.next_sequence = next_sequence


class Overrun(_Gap):
    """The writer has overwritten the bytes of this batch: what its views showed last can't be trusted.

    ``first_sequence`` is the batch's first event, ``next_sequence`` the first event behind it, and ``missed`` the
    number of events between: what has to be taken as not read.
    """


class Detached(_Gap):
    """A reliable reader held the log for too long, and the service let go of it.

    The gap is exact: the events from ``first_sequence`` up to, and without, ``next_sequence`` are lost to this
    reader, ``missed`` of them. The reader goes on at ``next_sequence``.
    """


class OverrunWarning(RuntimeWarning):
    """A lossy reader moved on from a batch that was overwritten while its views were in use, and nobody asked."""
