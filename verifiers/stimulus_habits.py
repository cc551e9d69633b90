"""What a stock testbench never drives, read off its text: so that ours does not ask for more than the problem does.

Only one habit is known: vector inputs that always have exactly one bit set (the state of a one-hot machine, say). A
design may rely on that, and the golden's answer to anything else is nobody's specification. This reads assignments and
runs nothing.
"""

from pyslang import ast, syntax

from verifiers.elaborate import parse
from verifiers.types import Port

_ASSIGNMENTS = (syntax.SyntaxKind.AssignmentExpression, syntax.SyntaxKind.NonblockingAssignmentExpression)


def one_hot_inputs(testbench: str, ports: tuple[Port, ...]) -> tuple[str, ...]:
    """The vector inputs that all assignments in the testbench give one-hot values: a shifted 1, or such a literal."""
    vectors = [port.name for port in ports if port.direction == "input" and port.width > 1]
    habits: dict[str, list[bool]] = {name: [] for name in vectors}

    def visit(node) -> ast.VisitAction:
        if isinstance(node, syntax.BinaryExpressionSyntax) and node.kind in _ASSIGNMENTS:
            if isinstance(node.left, syntax.IdentifierNameSyntax):
                _note(habits, {node.left.identifier.valueText}, _is_one_hot(node.right))
            else:
                _note(habits, _names_in(node.left), False)
        elif isinstance(node, syntax.DeclaratorSyntax) and node.initializer is not None:
            _note(habits, {node.name.valueText}, _is_one_hot(node.initializer.expr))
        return ast.VisitAction.Advance

    parse(testbench).tree.root.visit(visit)
    return tuple(name for name in vectors if habits[name] and all(habits[name]))


def _note(habits: dict[str, list[bool]], names: set[str], is_one_hot: bool) -> None:
    for name in names & habits.keys():
        habits[name].append(is_one_hot)


def _names_in(expression) -> set[str]:
    names: set[str] = set()

    def visit(node) -> ast.VisitAction:
        if isinstance(node, syntax.IdentifierNameSyntax | syntax.IdentifierSelectNameSyntax):
            names.add(node.identifier.valueText)
        return ast.VisitAction.Advance

    expression.visit(visit)
    return names


def _is_one_hot(expression) -> bool:
    while isinstance(expression, syntax.ParenthesizedExpressionSyntax):
        expression = expression.expression
    if expression.kind is syntax.SyntaxKind.LogicalShiftLeftExpression:
        return _value(expression.left) == 1
    value = _value(expression)
    return value is not None and value.bit_count() == 1


def _value(expression) -> int | None:
    """The value of a number without x or z; None for anything else."""
    if isinstance(expression, syntax.LiteralExpressionSyntax):
        value = expression.literal.value
    elif isinstance(expression, syntax.IntegerVectorExpressionSyntax):
        value = expression.value.value
    else:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
