"""Errors whose message is meant for the user, and the exit code each one ends a command with."""

from __future__ import annotations


class MISSUError(Exception):
    """Something went wrong in a way the user can understand; the message says what to do."""

    exit_code = 1


class InputError(MISSUError):
    """A file, an option or a combination of them cannot be used. The message names it."""

    exit_code = 2


class ResourceError(MISSUError):
    """The machine ran out of memory or disk space."""

    exit_code = 3


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
