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
