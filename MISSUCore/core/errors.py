"""Errors whose message is meant for the user, and the exit code each one ends a command with."""

from __future__ import annotations

from enum import Enum

from .messages import Text

# What a command's exit code says; those of errors stand at their classes.
EXIT_CODES = {
    0: "done",
    1: "failed; an error that nobody foresaw names a log with the details; of `missu verify`: "
    "neither as computed nor signed off",
    2: "something given cannot be used; nothing was written",
    3: "out of memory or disk space",
    4: "the scans show the skull, and nothing is there to take it off",
    130: "cancelled",
}


class ErrorCode(str, Enum):
    """What kind of error ended a command, for programs: the message is for people."""

    FAILED = "failed"
    INPUT = "input"
    RESOURCES = "resources"
    BRAIN_EXTRACTION_MISSING = "brain-extraction-missing"
    SCANS_KNOWN = "scans-known"
    LABELS_EMPTY = "labels-empty"
    ANATOMY_DIFFERS = "anatomy-differs"
    CANCELLED = "cancelled"


class MISSUError(Exception):
    """Something went wrong in a way the user can understand; the message says what to do.

    Args:
        parts: of the message, see :class:`.Text`.
        code: if it is another than that of the class.

    Attributes:
        text: the message.
        code: which kind of error it is, for programs.
    """

    exit_code = 1
    code = ErrorCode.FAILED

    def __init__(self, *parts: object, code: ErrorCode | None = None) -> None:
        self.text = Text(*parts)
        self.code = code or type(self).code
        super().__init__(str(self.text))


class InputError(MISSUError):
    """A file, an option or a combination of them cannot be used. The message names it."""

    exit_code = 2
    code = ErrorCode.INPUT


class ResourceError(MISSUError):
    """The machine ran out of memory or disk space."""

    exit_code = 3
    code = ErrorCode.RESOURCES


_MEMORY_WORDS = (
    "out of memory",
    "alloc_failed",  # cuBLAS and cuDNN
    "not enough memory",  # PyTorch's allocator on the CPU, on Windows
    "defaultcpuallocator",  # the same on Linux and macOS
    "cannot allocate memory",
    "failed to allocate memory",  # ITK
    "bad_alloc",  # any C++
)


def says_out_of_memory(error: BaseException) -> bool:
    """Whether a library gave up for want of memory, each of which says so in its own words."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _MEMORY_WORDS)
