"""The errors of the whole project: one base, and one class a kind of fault.

Each kind carries the exit code a command ends with, so that the command line has one place to catch them.
"""

import builtins


class EarlError(Exception):
    """Base of every error that the project raises on purpose. The message says what, what was got, what to do."""

    exit_code = 3


class UsageError(EarlError, ValueError):
    """The user's input is wrong: a config key, a path, an option. Exit code 2."""

    exit_code = 2


class InfrastructureError(EarlError, RuntimeError):
    """Our side failed: a tool crashed, a worker was lost, a disk is full. Never the candidate's fault. Exit code 3."""


class ToolNotFound(InfrastructureError, FileNotFoundError):
    """A program that is needed is not installed. The message names both remedies. Exit code 3."""


class DeadlineExceeded(InfrastructureError, builtins.TimeoutError):
    """A wait passed its deadline. The message names what was waited for. Exit code 3."""
