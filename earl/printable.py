"""Makes a model's text safe to look at: a completion may hold terminal escapes, bidi overrides or lone surrogates."""

import unicodedata

REPLACEMENT = "�"
_HARMLESS = "\n\t"


def printable(text: str) -> str:
    """`text` with each control, format and surrogate character replaced, one for one; newlines and tabs stay."""
    return "".join(char if char in _HARMLESS or unicodedata.category(char)[0] != "C" else REPLACEMENT for char in text)
