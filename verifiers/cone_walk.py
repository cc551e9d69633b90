"""Walks an elaborated design into a graph of what drives what, with source lines. `verifiers.cone` follows it.

Whole signals, not bits. A function's call takes its arguments and what its body reads; two calls of a task, or of a
function that writes its arguments, share one body, and so what is around either call.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pyslang import ast

from toolchain.errors import UsageError
from verifiers.elaborate import Source
from verifiers.walk import written_symbols

MAX_DRIVERS = 20_000  # a generate loop may unroll into more: such a design gets no cone

_STEPS = frozenset(
    (
        ast.UnaryOperator.Preincrement,
        ast.UnaryOperator.Predecrement,
        ast.UnaryOperator.Postincrement,
        ast.UnaryOperator.Postdecrement,
    )
)


class ConeTooLarge(UsageError):
    """The design has more than MAX_DRIVERS drivers."""


@dataclass(frozen=True, slots=True)
class Influence:
    """Lines and signals (by path) that decide something: a condition, an event, a right-hand side."""

    lines: frozenset[int] = frozenset()
    reads: frozenset[str] = frozenset()

    def __or__(self, other: "Influence") -> "Influence":
        return Influence(self.lines | other.lines, self.reads | other.reads)


_NOTHING = Influence()


@dataclass(slots=True)
class Graph:
    """What was walked so far."""

    source: Source
    drivers: dict[str, list[Influence]] = field(default_factory=dict)  # path of a signal -> what drives it
    declared: dict[str, int] = field(default_factory=dict)  # path of a net or variable -> the line that declares it
    walked: set[str] = field(default_factory=set)  # paths of subroutines
    num_drivers: int = 0

    def drive(self, paths: Iterable[str], by: Influence) -> None:
        """Note that `by` decides the signals. Raises ConeTooLarge beyond MAX_DRIVERS."""
        for path in paths:
            self.drivers.setdefault(path, []).append(by)
            self.num_drivers += 1
        if self.num_drivers > MAX_DRIVERS:
            raise ConeTooLarge(f"the design has more than {MAX_DRIVERS} drivers; no cones are drawn of it")

    def influence_of(self, *expressions: ast.Expression) -> Influence:
        """The lines that expressions stand on and the signals that they read."""
        lines = (line for expression in expressions for line in self._lines_of(expression.sourceRange))
        return Influence(frozenset(lines), frozenset(_reads(expressions)))

    def place_of(self, node) -> Influence:
        """The lines of a node alone: a statement's or expression's extent, a symbol's name."""
        if isinstance(node, ast.Symbol):
            return Influence(lines=frozenset((self.source.line_of(node.location),)))
        return Influence(lines=frozenset(self._lines_of(node.sourceRange)))

    def _lines_of(self, extent) -> range:
        first, last = self.source.line_of(extent.start), self.source.line_of(extent.end)
        return range(min(first, last), max(first, last) + 1)


def walk_design(top: ast.InstanceSymbol, graph: Graph) -> None:
    """Note every driver below a top instance. Raises ConeTooLarge."""

    def on_value(symbol: ast.ValueSymbol) -> None:
        graph.declared[symbol.hierarchicalPath] = graph.source.line_of(symbol.location)
        if symbol.initializer is not None:
            _walk_initializer(symbol, _NOTHING, graph)

    def on_assign(symbol: ast.ContinuousAssignSymbol) -> ast.VisitAction:
        _walk_expression(symbol.assignment, _NOTHING, graph)
        return ast.VisitAction.Skip

    def on_block(symbol: ast.ProceduralBlockSymbol) -> ast.VisitAction:
        _walk_statement(symbol.body, _NOTHING, (), graph)
        return ast.VisitAction.Skip

    def on_instance(symbol: ast.InstanceSymbol) -> None:
        if symbol is not top:
            for connection in symbol.portConnections:
                _walk_connection(symbol, connection, graph)

    top.visit(
        lookup_table={
            ast.SymbolKind.Net: on_value,
            ast.SymbolKind.Variable: on_value,
            ast.SymbolKind.ContinuousAssign: on_assign,
            ast.SymbolKind.ProceduralBlock: on_block,
            ast.SymbolKind.Instance: on_instance,
            ast.SymbolKind.PrimitiveInstance: lambda symbol: _walk_primitive(symbol, graph),
            ast.SymbolKind.Subroutine: lambda symbol: ast.VisitAction.Skip,  # walked where it is called
        }
    )


def _walk_connection(instance: ast.InstanceSymbol, connection: ast.PortConnection, graph: Graph) -> None:
    port, outside = connection.port, connection.expression
    if not isinstance(port, ast.PortSymbol) or outside is None:
        return
    if port.internalSymbol is not None:
        inside = [port.internalSymbol.hierarchicalPath]
    else:
        inside = [] if port.internalExpr is None else _written_paths(port.internalExpr)
    here = graph.place_of(instance)
    if isinstance(outside, ast.AssignmentExpression):  # an output: the outside takes the inside's value
        _drive_target(outside.left, here | graph.place_of(outside.left) | Influence(reads=frozenset(inside)), graph)
    else:
        _walk_expression(outside, _NOTHING, graph)
        graph.drive(inside, here | graph.influence_of(outside))


def _walk_primitive(gate: ast.PrimitiveInstanceSymbol, graph: Graph) -> ast.VisitAction:
    """A gate or a user-defined primitive: its outputs take all of its inputs."""
    outputs = [part.left for part in gate.portConnections if isinstance(part, ast.AssignmentExpression)]
    inputs = [part for part in gate.portConnections if not isinstance(part, ast.AssignmentExpression)]
    given = graph.place_of(gate) | graph.influence_of(*inputs)
    if gate.primitiveType.primitiveKind is ast.PrimitiveSymbol.PrimitiveKind.UserDefined:
        given |= graph.place_of(gate.primitiveType.syntax)
    for output in outputs:
        _drive_target(output, given, graph)
    return ast.VisitAction.Skip


def _walk_initializer(symbol: ast.ValueSymbol, around: Influence, graph: Graph) -> None:
    _walk_expression(symbol.initializer, around, graph)
    graph.drive((symbol.hierarchicalPath,), around | graph.place_of(symbol) | graph.influence_of(symbol.initializer))


def _walk_statement(body: ast.Statement, around: Influence, results: tuple[str, ...], graph: Graph) -> None:
    """Note what a statement drives. `around` decides whether it runs, `results` is what a return drives."""
    pending = [(body, around)]  # no recursion: hostile text nests deeper than Python does
    while pending:
        statement, around = pending.pop()
        deciders, acts, parts = _open(statement)
        inner = around | graph.influence_of(*deciders) if deciders else around
        for act in (*deciders, *acts):
            _walk_expression(act, around if act in deciders else inner, graph)
        match statement:
            case ast.TimedStatement():
                inner |= graph.influence_of(*_events_of(statement.timing))
            case ast.CaseStatement():
                pending.extend(_case_parts(statement, inner, graph))
            case ast.VariableDeclStatement() if statement.symbol.initializer is not None:
                _walk_initializer(statement.symbol, around, graph)
            case ast.EventTriggerStatement():
                graph.drive(_reads((statement.target,)), around | graph.place_of(statement))
            case ast.ReturnStatement() if statement.expr is not None:
                graph.drive(results, around | graph.influence_of(statement.expr))
        pending.extend((part, inner) for part in parts if part is not None)


def _open(statement: ast.Statement) -> tuple[tuple, tuple, tuple]:
    """What decides over a statement's parts, the expressions that it evaluates besides, and its parts."""
    match statement:
        case ast.BlockStatement() | ast.ForeverLoopStatement():
            return (), (), (statement.body,)
        case ast.StatementList():
            return (), (), tuple(statement.list)
        case ast.TimedStatement():
            return (), (), (statement.stmt,)
        case ast.ConditionalStatement():
            return tuple(part.expr for part in statement.conditions), (), (statement.ifTrue, statement.ifFalse)
        case ast.CaseStatement():  # its items have labels: `_case_parts`
            return (statement.expr,), (), ()
        case ast.ForLoopStatement():
            stop = () if statement.stopExpr is None else (statement.stopExpr,)
            return stop, (*statement.initializers, *statement.steps), (statement.body,)
        case ast.RepeatLoopStatement():
            return (statement.count,), (), (statement.body,)
        case ast.WhileLoopStatement() | ast.DoWhileLoopStatement():
            return (statement.cond,), (), (statement.body,)
        case ast.ForeachLoopStatement():
            return (statement.arrayRef,), (), (statement.body,)
        case ast.WaitStatement():
            return (statement.cond,), (), (statement.stmt,)
        case ast.ExpressionStatement() | ast.ReturnStatement():
            return (), () if statement.expr is None else (statement.expr,), ()
        case ast.ProceduralAssignStatement():
            return (), (statement.assignment,), ()
    return (), (), ()


def _case_parts(statement: ast.CaseStatement, around: Influence, graph: Graph) -> list[tuple[ast.Statement, Influence]]:
    """The items of a case with what decides over each: every label's signals, its own labels' lines."""
    labels = [label for item in statement.items for label in item.expressions]
    around |= Influence(reads=frozenset(_reads(labels)))
    parts = [(item.stmt, around | graph.influence_of(*item.expressions)) for item in statement.items]
    return parts if statement.defaultCase is None else [*parts, (statement.defaultCase, around)]


def _events_of(timing: ast.TimingControl) -> list[ast.Expression]:
    events = timing.events if isinstance(timing, ast.EventListControl) else [timing]
    return [event.expr for event in events if isinstance(event, ast.SignalEventControl)]


def _walk_expression(expression: ast.Expression, around: Influence, graph: Graph) -> None:
    """Note what an expression drives: by assignment, by `++`, by a call."""

    def on_assignment(part: ast.AssignmentExpression) -> None:
        own = around | graph.place_of(part) | graph.influence_of(part.right)
        if part.isCompound:
            own |= Influence(reads=frozenset(_written_paths(part.left)))
        _drive_target(part.left, own, graph)

    def on_unary(part: ast.UnaryExpression) -> None:
        if part.op in _STEPS:
            _drive_target(part.operand, around | graph.influence_of(part.operand), graph)

    def on_call(part: ast.CallExpression) -> None:
        if not part.isSystemCall:
            _walk_call(part, around, graph)

    expression.visit(
        lookup_table={
            ast.ExpressionKind.Assignment: on_assignment,
            ast.ExpressionKind.UnaryOp: on_unary,
            ast.ExpressionKind.Call: on_call,
        }
    )


def _walk_call(call: ast.CallExpression, around: Influence, graph: Graph) -> None:
    """Link a call with the body of its subroutine, which is walked once."""
    subroutine = call.subroutine
    path = subroutine.hierarchicalPath
    result = (subroutine.returnValVar.hierarchicalPath,) if subroutine.returnValVar is not None else ()
    has_effects = _has_effects(subroutine)
    if has_effects:
        graph.drive((path,), around | graph.place_of(call))
        for formal, actual in zip(subroutine.arguments, call.arguments, strict=True):
            if isinstance(actual, ast.AssignmentExpression):  # an output
                own = around | graph.place_of(call) | Influence(reads=frozenset((formal.hierarchicalPath,)))
                _drive_target(actual.left, own, graph)
                actual = actual.left
            if formal.direction is not ast.ArgumentDirection.Out:
                graph.drive((formal.hierarchicalPath,), around | graph.influence_of(actual))
    if path not in graph.walked:
        graph.walked.add(path)
        inside = Influence(reads=frozenset((path,))) if has_effects else _NOTHING
        _walk_statement(subroutine.body, inside, result, graph)


def _has_effects(subroutine: ast.SubroutineSymbol) -> bool:
    """Whether a call does more than give a value made of its arguments."""
    is_task = subroutine.subroutineKind is ast.SubroutineKind.Task or subroutine.returnValVar is None
    return is_task or any(formal.direction is not ast.ArgumentDirection.In for formal in subroutine.arguments)


def _drive_target(target: ast.Expression, by: Influence, graph: Graph) -> None:
    """`by` decides what `target` writes, and so do the indices in it."""
    written = _written_paths(target)
    graph.drive(written, by | Influence(reads=frozenset(_reads((target,))) - set(written)))


def _written_paths(target: ast.Expression) -> list[str]:
    return [symbol.hierarchicalPath for symbol in written_symbols(target)]


def _reads(expressions: Iterable[ast.Expression]) -> list[str]:
    """The paths of the signals and of the results of functions in expressions."""
    paths: list[str] = []

    def on_value(part: ast.ValueExpressionBase) -> None:
        paths.append(part.symbol.hierarchicalPath)

    def on_call(part: ast.CallExpression) -> None:
        if not part.isSystemCall and part.subroutine.returnValVar is not None:
            paths.append(part.subroutine.returnValVar.hierarchicalPath)

    table = {
        ast.ExpressionKind.NamedValue: on_value,
        ast.ExpressionKind.HierarchicalValue: on_value,
        ast.ExpressionKind.Call: on_call,
    }
    for expression in expressions:
        expression.visit(lookup_table=table)
    return paths
