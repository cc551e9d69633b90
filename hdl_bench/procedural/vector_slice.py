"""Rewiring of vectors: part selects, sign and zero extension, concatenation, replication and field formats.

The source of each output bit is the parameter, so two ways of cutting one wiring are one design.
"""

import random
from dataclasses import dataclass

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Port, Protocol

_WIDTHS = (6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """`count` copies of `source[high:low]`, optionally inverted; a `source` of "" is the constant `constant`."""

    source: str = ""
    high: int = 0
    low: int = 0
    count: int = 1
    is_inverted: bool = False
    constant: int = 0

    @property
    def width(self) -> int:
        return (self.high - self.low + 1) * self.count


def _draw_pieces(rng: random.Random, level: int, ports: tuple[Port, ...]) -> list[_Piece]:
    """The pieces of y, most significant first."""
    top = ports[0].width - 1
    if level == 1:
        low = rng.randrange(top)
        return [_slice("a", rng.randint(low + 1, top - (low == 0)) if top > 1 else low, low)]
    if level == 2:
        return _draw_extension(rng, top)
    pieces = []
    for _ in range({3: 2, 4: 4, 5: 6}[level] + rng.randrange(2)):
        port = rng.choice(ports)
        high, low = sorted((rng.randrange(port.width), rng.randrange(port.width)), reverse=True)
        kind = rng.choice(("slice", "slice", "slice", "copies", "constant")) if level > 3 else "slice"
        if kind == "constant":
            width = rng.randint(1, 4)
            pieces.append(_Piece(high=width - 1, constant=rng.randrange(1 << width)))
        elif kind == "copies":
            pieces.append(_Piece(source=port.name, high=high, low=high, count=rng.randint(2, 6)))
        else:
            is_inverted = level == 5 and rng.random() < 0.3
            pieces.append(_Piece(source=port.name, high=high, low=low, is_inverted=is_inverted))
    return pieces


def _draw_extension(rng: random.Random, top: int) -> list[_Piece]:
    """Sign, zero or one extension of the whole vector, a padding below it, or a swap of two unequal parts."""
    kind, count = rng.choice(("sign", "zero", "one", "below", "swap")), rng.randint(2, 16)
    if kind == "swap":
        cut = rng.randint(1, top)
        return [_slice("a", cut - 1, 0), _slice("a", top, cut)]
    if kind == "sign":
        return [_Piece(source="a", high=top, low=top, count=count), _slice("a", top, 0)]
    padding = _Piece(high=count - 1, constant=(1 << count) - 1 if kind == "one" else 0)
    return [_slice("a", top, 0), padding] if kind == "below" else [padding, _slice("a", top, 0)]


def _slice(source: str, high: int, low: int) -> _Piece:
    return _Piece(source=source, high=high, low=low)


def _bits(piece: _Piece) -> list[str]:
    """The source of each bit of a piece, most significant first: `a7`, `~a7`, `0`, `1`."""
    if not piece.source:
        return list(f"{piece.constant:0{piece.width}b}")
    once = [f"{'~' * piece.is_inverted}{piece.source}{index}" for index in range(piece.high, piece.low - 1, -1)]
    return once * piece.count


def _verilog(piece: _Piece, widths: dict[str, int]) -> str:
    if not piece.source:
        return literal(piece.width, piece.constant, "b")
    is_whole = piece.low == 0 and piece.high == widths[piece.source] - 1
    index = "" if is_whole else f"[{_range(piece.high, piece.low)}]"
    text = f"{'~' * piece.is_inverted}{piece.source}{index}"
    return f"{{{piece.count}{{{text}}}}}" if piece.count > 1 else text


def _range(high: int, low: int) -> str:
    return f"{high}" if high == low else f"{high}:{low}"


def _words(piece: _Piece) -> str:
    if not piece.source:
        bits = f"{piece.constant:0{piece.width}b}"
        return f"the constant bits {bits}" if piece.width > 1 else f"the constant bit {bits}"
    bits = f"bit {piece.high}" if piece.high == piece.low else f"bits {piece.high} down to {piece.low}"
    text = f"{bits} of {piece.source}" + (", inverted" if piece.is_inverted else "")
    return f"{piece.count} copies of {text}" if piece.count > 1 else text


def _placed(pieces: list[_Piece]) -> list[str]:
    """One sentence part a piece, naming the bits of y that it fills, from the least significant piece up."""
    parts, low = [], 0
    for piece in reversed(pieces):
        parts.append(f"y[{_range(low + piece.width - 1, low)}] is {_words(piece)}")
        low += piece.width
    return parts


def draw(rng: random.Random, level: int) -> Design:
    names = {1: ("a",), 2: ("a",), 3: ("a", "b"), 4: ("a", "b"), 5: ("a", "b", "c")}[level]
    sources = inputs(**{name: rng.choice(_WIDTHS) for name in names})
    pieces = _draw_pieces(rng, level, sources)
    while {piece.source for piece in pieces if piece.source} != set(names):  # every input is used
        pieces = _draw_pieces(rng, level, sources)
    bits = [bit for piece in pieces for bit in _bits(piece)]
    widths = {port.name: port.width for port in sources}
    texts = [_verilog(piece, widths) for piece in pieces]
    ports = sources + outputs(y=len(bits))
    if len(pieces) == 1:
        [only] = pieces
        descriptions = (
            f"The output y should be {_words(only)}, in the same order (the highest of them is y's highest bit).",
            f"Extract the field a[{only.high}:{only.low}] of the input and put it on y, least significant bit at y[0].",
            f"Wire bit {only.low} of a to y[0], the next higher bit to y[1], and so on up to bit {only.high} of a, "
            f"which drives y[{only.width - 1}].",
        )
    else:
        descriptions = (
            "The output y is a concatenation. From its most significant bits down to its least significant bits it "
            f"consists of: {'; '.join(_words(piece) for piece in pieces)}. Bit order inside each part is kept.",
            f"Rewire the inputs without any clock: {'; '.join(_placed(pieces))}.",
            f"Build a {len(bits)}-bit word by placing these fields next to each other, starting at bit 0 of y and "
            f"going up: {'; '.join(f'{_words(piece)} ({_bit_count(piece)})' for piece in reversed(pieces))}. No "
            "field is reversed.",
        )
    return Design(
        params={"inputs": ",".join(str(port.width) for port in sources), "bits": " ".join(bits)},
        ports=ports,
        descriptions=descriptions,
        golden=module(ports, f"assign y = {texts[0] if len(texts) == 1 else '{' + ', '.join(texts) + '}'};"),
        protocol=Protocol(),
    )


def _bit_count(piece: _Piece) -> str:
    return "1 bit" if piece.width == 1 else f"{piece.width} bits in all"


FAMILY = Family(
    name="vector_slice",
    summary="part selects, extension, concatenation, replication and field formats",
    draw=draw,
    num_distinct=sum(width * (width - 1) // 2 - 1 + 60 + width - 1 for width in _WIDTHS) + 100_000,  # from level 3 on
)
