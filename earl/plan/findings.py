"""What is wrong, or strange, with a plan."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """`is_error`: the run would not start, or would fail. Else it would run, and its owner should look."""

    is_error: bool
    message: str


def error(message: str) -> Finding:
    return Finding(is_error=True, message=message)


def warning(message: str) -> Finding:
    return Finding(is_error=False, message=message)
