"""Reads files of a user's checkout of a benchmark. Every fault is a usage error that names the file."""

from collections.abc import Iterable
from pathlib import Path

from toolchain.errors import UsageError

_SHOWN_FILES = 5


def read_text(path: Path, *, may_be_empty: bool = False) -> str:
    """The text of a file that must hold some. Raises UsageError when it cannot be read, is no UTF-8 or is empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; repair the checkout") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text (byte {error.start}); repair the checkout") from error
    if not text.strip() and not may_be_empty:
        raise UsageError(f"{path} is empty; repair the checkout")
    return text


def missing_files(folder: Path, names: Iterable[str]) -> str:
    """Which of the files are not there, for a message, the first few by name; "" when all are."""
    missing = [name for name in names if not (folder / name).is_file()]
    more = f" and {len(missing) - _SHOWN_FILES} more" if len(missing) > _SHOWN_FILES else ""
    return ", ".join(missing[:_SHOWN_FILES]) + more
