"""Walks over pyslang's trees: the small questions that several readers of a design ask.

Each is a plain function of a node; none keeps state, judges or reports.
"""

from collections.abc import Collection, Iterator

from pyslang import ast, syntax

_CONSTANT_KINDS = (ast.SymbolKind.Parameter, ast.SymbolKind.EnumValue, ast.SymbolKind.Genvar)
_OR = (ast.BinaryOperator.BinaryOr, ast.BinaryOperator.LogicalOr)


def nodes_of(root, kind: type) -> list:
    """All nodes of a kind (or a union of kinds) below an AST node, in source order."""
    found = []
    root.visit(lambda node: found.append(node) if isinstance(node, kind) else None)
    return found


def statements(statement: ast.Statement) -> Iterator[ast.Statement]:
    """The statements at the top level, out of their begin-end."""
    if isinstance(statement, ast.BlockStatement):
        yield from statements(statement.body)
    elif isinstance(statement, ast.StatementList):
        for item in statement.list:
            yield from statements(item)
    else:
        yield statement


def conditionals(statement: ast.Statement) -> Iterator[tuple[ast.Expression, ast.Statement, ast.Statement | None]]:
    """(condition, then, else) of each `if` at the top level and of its `else if` chain."""
    for item in statements(statement):
        if isinstance(item, ast.ConditionalStatement):
            yield item.conditions[0].expr, item.ifTrue, item.ifFalse
            if item.ifFalse is not None:
                yield from conditionals(item.ifFalse)


def assignments(statement: ast.Statement) -> list[ast.AssignmentExpression]:
    """The assignments in a statement, without those that set up or step a loop."""
    loops = nodes_of(statement, ast.ForLoopStatement)
    counting = {part.sourceRange.start.offset for loop in loops for part in (*loop.initializers, *loop.steps)}
    found = nodes_of(statement, ast.AssignmentExpression)
    return [assignment for assignment in found if assignment.sourceRange.start.offset not in counting]


def is_constant(expression: ast.Expression, known: Collection[str] = ()) -> bool:
    """Whether an expression reads nothing but parameters and the symbols whose paths are `known` to be constant."""
    if nodes_of(expression, ast.LValueReferenceExpression):  # the left side of `+=`
        return False
    reads = [node.symbol for node in nodes_of(expression, ast.NamedValueExpression | ast.HierarchicalValueExpression)]
    return all(symbol.kind in _CONSTANT_KINDS or symbol.hierarchicalPath in known for symbol in reads)


def bit_value(expression: ast.Expression) -> int | None:
    """The lowest bit of a literal; None for anything else and for x or z."""
    while isinstance(expression, ast.ConversionExpression):
        expression = expression.operand
    if isinstance(expression, ast.IntegerLiteral | ast.UnbasedUnsizedIntegerLiteral):
        text = str(expression.value)
        return 1 if text.endswith("1") else 0 if text.endswith("0") else None
    return None


def or_operands(condition: ast.Expression) -> list[ast.Expression]:
    """The operands of a chain of ORs, or the expression itself."""
    if isinstance(condition, ast.ConversionExpression):
        return or_operands(condition.operand)
    if isinstance(condition, ast.BinaryExpression) and condition.op in _OR:
        return or_operands(condition.left) + or_operands(condition.right)
    return [condition]


def written_symbols(expression: ast.Expression) -> list[ast.Symbol]:
    """The symbols that an assignment to `expression` writes; the indices in it are read, not written."""
    written, pending = [], [expression]  # no recursion: hostile text nests deeper than Python does
    while pending:
        match part := pending.pop():
            case ast.NamedValueExpression() | ast.HierarchicalValueExpression():
                written.append(part.symbol)
            case ast.ElementSelectExpression() | ast.RangeSelectExpression() | ast.MemberAccessExpression():
                pending.append(part.value)
            case ast.ConversionExpression():
                pending.append(part.operand)
            case ast.ConcatenationExpression():
                pending.extend(part.operands)
            case ast.StreamingConcatenationExpression():
                pending.extend(stream.operand for stream in part.streams)
            case ast.SimpleAssignmentPatternExpression():
                pending.extend(part.elements)
    return written


def name_components(name: syntax.NameSyntax) -> list[str]:
    """The identifiers of a dotted or scoped name from left to right, without their indices."""
    parts: list[str] = []
    while isinstance(name, syntax.ScopedNameSyntax):  # leans to the left, however long
        parts.append(name.right.getFirstToken().valueText)
        name = name.left
    return [name.getFirstToken().valueText, *reversed(parts)]
