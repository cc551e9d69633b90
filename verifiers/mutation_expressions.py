"""Slightly wrong expressions: operators, operands, constants, bit indices and widths.

Nothing here asks whether the edited text still compiles or behaves otherwise: `verifiers.mutate` and its callers do.
"""

import itertools
import re
from collections.abc import Callable, Iterator

from pyslang import parsing, syntax

from verifiers.mutation_site import Edit, Site, parts

_K = syntax.SyntaxKind

_BINARY_SWAPS = {
    _K.AddExpression: ("-",),
    _K.SubtractExpression: ("+",),
    _K.MultiplyExpression: ("+",),
    _K.DivideExpression: ("*",),
    _K.ModExpression: ("/",),
    _K.PowerExpression: ("*",),
    _K.BinaryAndExpression: ("|",),
    _K.BinaryOrExpression: ("&", "^"),
    _K.BinaryXorExpression: ("|", "~^"),
    _K.BinaryXnorExpression: ("^",),
    _K.LogicalAndExpression: ("||",),
    _K.LogicalOrExpression: ("&&",),
    _K.EqualityExpression: ("!=",),
    _K.InequalityExpression: ("==",),
    _K.CaseEqualityExpression: ("!==",),
    _K.CaseInequalityExpression: ("===",),
    _K.LessThanExpression: ("<=", ">"),
    _K.LessThanEqualExpression: ("<",),
    _K.GreaterThanExpression: (">=", "<"),
    _K.GreaterThanEqualExpression: (">",),
    _K.LogicalShiftLeftExpression: (">>",),
    _K.LogicalShiftRightExpression: ("<<",),
    _K.ArithmeticShiftLeftExpression: (">>",),
    _K.ArithmeticShiftRightExpression: (">>",),
}
_UNARY_SWAPS = {  # "" drops the operator
    _K.UnaryMinusExpression: "",
    _K.UnaryBitwiseNotExpression: "",
    _K.UnaryLogicalNotExpression: "",
    _K.UnaryBitwiseAndExpression: "|",
    _K.UnaryBitwiseOrExpression: "&",
    _K.UnaryBitwiseXorExpression: "|",
    _K.UnaryBitwiseNandExpression: "~|",
    _K.UnaryBitwiseNorExpression: "~&",
    _K.UnaryBitwiseXnorExpression: "^",
}
_ASSIGNMENT_SWAPS = {
    _K.AddAssignmentExpression: "-=",
    _K.SubtractAssignmentExpression: "+=",
    _K.MultiplyAssignmentExpression: "+=",
    _K.AndAssignmentExpression: "|=",
    _K.OrAssignmentExpression: "&=",
    _K.XorAssignmentExpression: "|=",
    _K.LogicalLeftShiftAssignmentExpression: ">>=",
    _K.LogicalRightShiftAssignmentExpression: "<<=",
    _K.PostincrementExpression: "--",
    _K.PostdecrementExpression: "++",
}
_UNORDERED = {  # operators whose operands may not change places
    _K.SubtractExpression,
    _K.DivideExpression,
    _K.ModExpression,
    _K.PowerExpression,
    _K.LogicalShiftLeftExpression,
    _K.LogicalShiftRightExpression,
    _K.ArithmeticShiftLeftExpression,
    _K.ArithmeticShiftRightExpression,
}
_NEGATIONS = {
    _K.EqualityExpression,
    _K.InequalityExpression,
    _K.UnaryLogicalNotExpression,
    _K.UnaryBitwiseNotExpression,
}
_COMPARISONS = {
    _K.EqualityExpression,
    _K.InequalityExpression,
    _K.CaseEqualityExpression,
    _K.CaseInequalityExpression,
    _K.LessThanExpression,
    _K.LessThanEqualExpression,
    _K.GreaterThanExpression,
    _K.GreaterThanEqualExpression,
}
_COMPOUND = syntax.BinaryExpressionSyntax | syntax.ConditionalExpressionSyntax
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}
_FORMATS = {"b": "b", "o": "o", "d": "d", "h": "x"}
_LITERAL = re.compile(r"(?P<head>(?P<size>\d*)'s?(?P<base>[bodh]))?(?P<digits>[0-9a-fxz?]+)")
_KNOWN_DIGIT = re.compile(r"[01]")


def _swapped_operators(site: Site) -> Iterator[Edit]:
    node = site.node
    if node.kind in _NEGATIONS and _is_predicate(node):
        return
    if node.kind in _BINARY_SWAPS:
        left, right = (_operand(site, side) for side in (node.left, node.right))
        for new in _BINARY_SWAPS[node.kind]:
            yield site.edit("operator", (node, f"({left} {new} {right})"))
    elif node.kind in _UNARY_SWAPS:
        operand = _operand(site, node.operand)
        yield site.edit("operator", (node, f"({_UNARY_SWAPS[node.kind]}{operand})"))
    elif node.kind in _ASSIGNMENT_SWAPS:
        yield site.edit("operator", (node.operatorToken, _ASSIGNMENT_SWAPS[node.kind]))


def _operand(site: Site, node: syntax.SyntaxNode) -> str:
    return f"({site.of(node)})" if isinstance(node, _COMPOUND) else site.of(node)


def _swapped_operands(site: Site) -> Iterator[Edit]:
    node = site.node
    if node.kind in _UNORDERED and site.of(node.left) != site.of(node.right):
        yield site.edit("operands", (node.left, _operand(site, node.right)), (node.right, _operand(site, node.left)))
    elif isinstance(node, syntax.ConcatenationExpressionSyntax):
        items = [item for item in node.expressions if not isinstance(item, parsing.Token)]
        for first, second in itertools.pairwise(items):
            if site.of(first) != site.of(second):
                yield site.edit("operands", (first, site.of(second)), (second, site.of(first)))


def _dropped_operands(site: Site) -> Iterator[Edit]:
    node = site.node
    if node.kind in _BINARY_SWAPS and node.kind not in _COMPARISONS:
        for kept in (node.left, node.right):
            yield site.edit("operands", (node, f"({site.of(kept)})"))


def _changed_constants(site: Site) -> Iterator[Edit]:
    node = site.node
    is_number = node.kind in (
        _K.IntegerLiteralExpression,
        _K.IntegerVectorExpression,
        _K.UnbasedUnsizedLiteralExpression,
    )
    if not is_number or isinstance(node.parent, syntax.RangeSelectSyntax):
        return  # bounds: see _shifted_selects
    operator = "bit index" if isinstance(node.parent, syntax.BitSelectSyntax) else "constant"
    for new in _neighbours(site.of(node)):
        yield site.edit(operator, (node, new))


def _neighbours(literal: str) -> tuple[str, ...]:
    """Number literals next to this one, of the same width and base; none for one that is all open digits."""
    match = _LITERAL.fullmatch(literal.replace("_", "").replace(" ", "").lower())
    if match is None:
        return ("'1" if literal == "'0" else "'0",) if literal in ("'0", "'1") else ()
    head, base, digits = match["head"] or "", match["base"] or "d", match["digits"]
    if any(digit in "xz?" for digit in digits):
        known = _KNOWN_DIGIT.search(digits)
        if base != "b" or known is None:
            return ()
        return (f"{head}{digits[: known.start()]}{1 - int(known[0])}{digits[known.end() :]}",)
    value = int(digits, _BASES[base])
    if not head:
        return tuple(str(new) for new in (value + 1, value - 1) if new >= 0)
    modulus = 1 << int(match["size"] or 32)
    values = dict.fromkeys(((value + 1) % modulus, (value - 1) % modulus))
    padding = f"0{len(digits)}" if base != "d" else ""
    return tuple(f"{head}{new:{padding}{_FORMATS[base]}}" for new in values if new != value)


def _shifted_selects(site: Site) -> Iterator[Edit]:
    node = site.node
    if not isinstance(node, syntax.RangeSelectSyntax) or not isinstance(node.parent, syntax.ElementSelectSyntax):
        return
    left, right = site.of(node.left), site.of(node.right)
    if node.kind is not _K.SimpleRangeSelect:
        yield site.edit("bit index", (node.left, f"({left})+1"))
        return
    for step in (1, -1):
        yield site.edit("bit index", (node.left, _plus(left, step)), (node.right, _plus(right, step)))


def _changed_widths(site: Site) -> Iterator[Edit]:
    """One bit (or word) more and less in a declaration."""
    if not isinstance(site.node, syntax.VariableDimensionSyntax):
        return
    for bounds in parts(site.node, syntax.RangeSelectSyntax):
        left, right = site.of(bounds.left), site.of(bounds.right)
        bound = bounds.right if left == "0" else bounds.left
        for step in (1,) if left == right else (1, -1):
            yield site.edit("width", (bound, _plus(site.of(bound), step)))


def _plus(bound: str, step: int) -> str:
    """A bound moved by one; the negative ones that this may make do not compile or select nothing."""
    return str(int(bound) + step) if bound.isdecimal() else f"({bound}){step:+d}"


def _is_predicate(node: syntax.SyntaxNode) -> bool:
    """Whether the node is the whole condition of an if or of `?:`: negating that is an edit of its own."""
    parent = node.parent
    while isinstance(parent, syntax.ParenthesizedExpressionSyntax):
        parent = parent.parent
    return isinstance(parent, syntax.ConditionalPatternSyntax)


EXPRESSION_FINDERS: tuple[Callable[[Site], Iterator[Edit]], ...] = (
    _swapped_operators,
    _swapped_operands,
    _dropped_operands,
    _changed_constants,
    _shifted_selects,
    _changed_widths,
)
