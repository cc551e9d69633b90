"""Damages text as a policy or an attacker might: for the fuzz script here and for the fuzz tests."""

import random

from verifiers.lexer import lex

_NASTY = (
    *("$finish;", "$fatal;", "$fopen", '$display("x");', "force", "release", "bind", "final begin end", "`include"),
    *('`include "/etc/passwd"', "`define x `x", "`x", "`ifdef", "`endif", "`resetall", "`timescale 1ps/1fs", "`line 1"),
    *("\\escaped ", "\\", '"', "'", "/*", "*/", "//", "(*", "*)", "begin", "end", "endmodule", "module TopModule;"),
    *(
        "generate",
        "#0",
        "@*",
        "@(a or",
        "'x",
        "1'bz",
        "64'hffff_ffff_ffff_ffff",
        "[99999999:0]",
        "[-1:0]",
        "{999999{a}}",
    ),
    *("\x00", "\r", "\u2028", "\ufeff", "\ud800", "\u0430", "```", "```verilog\n", "<think>", "</think>", "[BEGIN]"),
    *("[DONE]", "class c; endclass", "import p::*;", "$root.", "TopModule.", "always", "initial forever", "while (1)"),
)


def damaged(text: str, other: str, rng: random.Random) -> str:
    """`text` after one to six random edits, mostly one; some take their material from `other`."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        text = rng.choice(_EDITS)(text, other, rng)
    return text


def noise(rng: random.Random, num_bytes: int) -> str:
    """Random bytes as text, as a tokenizer's decoder would show them."""
    return rng.randbytes(num_bytes).decode("utf-8", errors=rng.choice(("replace", "ignore", "surrogateescape")))


def _pieces(text: str) -> list[str]:
    return [text[lexeme.start : lexeme.end] for lexeme in lex(text)] or [""]


def _drop(text: str, other: str, rng: random.Random) -> str:
    pieces = _pieces(text)
    start = rng.randrange(len(pieces))
    del pieces[start : start + rng.randint(1, 5)]
    return "".join(pieces)


def _repeat(text: str, other: str, rng: random.Random) -> str:
    pieces = _pieces(text)
    start = rng.randrange(len(pieces))
    part = pieces[start : start + rng.randint(1, 20)]
    pieces[start:start] = part * rng.choice((1, 2, 50))
    return "".join(pieces)


def _exchange(text: str, other: str, rng: random.Random) -> str:
    pieces = _pieces(text)
    first, second = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    pieces[first], pieces[second] = pieces[second], pieces[first]
    return "".join(pieces)


def _exchange_alike(text: str, other: str, rng: random.Random) -> str:
    """Two lexemes of one kind: what comes out is often still a design."""
    lexemes = lex(text)
    pieces = [text[lexeme.start : lexeme.end] for lexeme in lexemes] or [""]
    first = rng.randrange(len(pieces))
    alike = [index for index, lexeme in enumerate(lexemes) if lexeme.kind is lexemes[first].kind] or [first]
    second = rng.choice(alike)
    pieces[first], pieces[second] = pieces[second], pieces[first]
    return "".join(pieces)


def _insert(text: str, other: str, rng: random.Random) -> str:
    pieces = _pieces(text)
    pieces.insert(rng.randrange(len(pieces) + 1), f" {rng.choice(_NASTY)} ")
    return "".join(pieces)


def _replace(text: str, other: str, rng: random.Random) -> str:
    pieces, others = _pieces(text), _pieces(other)
    pieces[rng.randrange(len(pieces))] = rng.choice(others)
    return "".join(pieces)


def _splice(text: str, other: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]


def _cut(text: str, other: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _spill(text: str, other: str, rng: random.Random) -> str:
    position = rng.randrange(len(text) + 1)
    return text[:position] + noise(rng, rng.randint(1, 16)) + text[position:]


_GENTLE = (_exchange_alike,) * 9
_EDITS = (*_GENTLE, _drop, _repeat, _exchange, _insert, _insert, _replace, _splice, _cut, _spill)
