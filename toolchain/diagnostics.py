"""One message of a tool about a source line, whichever tool said it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostic:
    """A finding at a place. `line` is 1-based in the candidate's text, or None where the tool names none."""

    message: str
    severity: str = "error"  # "error" | "warning" | "note"
    code: str = ""  # the tool's own name for it, e.g. "UndeclaredIdentifier", or our rule's
    file: str = ""
    line: int | None = None
