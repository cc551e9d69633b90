"""Reads a golden's protocol off its source: clocks, resets, and outputs that never change.

A clock or reset is a top input that reaches, by name or inverted, through instances and plain assignments, the place
where a block waits for it or tests it. What counts as a reset: an edge that the block also tests (asynchronous), or a
one-bit condition under which a clocked block assigns nothing but constants to what otherwise depends on more
(synchronous). This reads structure, never names; a gated or divided clock is not followed, and `rare_high`, `rare_low`
and `min_cycles` are left at their defaults.
"""

from dataclasses import dataclass, field

from pyslang import ast

from toolchain.errors import UsageError
from verifiers.elaborate import elaborate, parse
from verifiers.interface import find_top
from verifiers.types import Clock, Protocol, Reset
from verifiers.walk import (
    assignments,
    bit_value,
    conditionals,
    is_constant,
    nodes_of,
    or_operands,
    statements,
    written_symbols,
)

_NOT = (ast.UnaryOperator.BitwiseNot, ast.UnaryOperator.LogicalNot)
_EDGES = {ast.EdgeKind.PosEdge: "posedge", ast.EdgeKind.NegEdge: "negedge", ast.EdgeKind.BothEdges: "both"}
_OPPOSITE = {"posedge": "negedge", "negedge": "posedge", "both": "both"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signal:
    """A top input as some place in the design sees it."""

    name: str
    is_inverted: bool = False

    def inverted(self) -> "_Signal":
        return _Signal(name=self.name, is_inverted=not self.is_inverted)


@dataclass(slots=True)
class _Findings:
    """What the clocked blocks told so far. `aliases`: path of a symbol -> the inputs that it carries."""

    aliases: dict[str, set[_Signal]] = field(default_factory=dict)
    edges: dict[str, set[str]] = field(default_factory=dict)  # clock name -> edges
    async_resets: dict[str, bool] = field(default_factory=dict)  # name -> is_active_high
    sync_resets: dict[str, bool] = field(default_factory=dict)

    def signals(self, expression: ast.Expression) -> set[_Signal]:
        """The top inputs that a one-bit expression is, or is the complement of; empty when it is anything else."""
        match expression:
            case ast.ConversionExpression():
                return self.signals(expression.operand)
            case ast.NamedValueExpression():
                return self.aliases.get(expression.symbol.hierarchicalPath, set())
            case ast.UnaryExpression() if expression.op in _NOT:
                return {signal.inverted() for signal in self.signals(expression.operand)}
            case ast.BinaryExpression() if expression.op in (
                ast.BinaryOperator.Equality,
                ast.BinaryOperator.Inequality,
            ):
                return self._compared(expression)
        return set()

    def _compared(self, expression: ast.BinaryExpression) -> set[_Signal]:
        value = bit_value(expression.right)
        if value is None:
            return set()
        is_same = (value == 1) == (expression.op is ast.BinaryOperator.Equality)
        signals = self.signals(expression.left)
        return set(signals) if is_same else {signal.inverted() for signal in signals}


def infer_protocol(golden: str, top_module: str) -> Protocol:
    """The protocol of a golden design. `UsageError` when it has no such module or does not elaborate."""
    top = _top_of(golden, top_module)
    inputs = [port for port in _ports(top.body) if port.direction is ast.ArgumentDirection.In]
    findings = _Findings()
    for port in inputs:
        if port.internalSymbol is not None and port.type.bitWidth == 1:
            findings.aliases[port.internalSymbol.hierarchicalPath] = {_Signal(name=port.name)}
    _follow_aliases(top, findings)
    blocks: list[tuple[ast.Statement, list[tuple[_Signal, str]]]] = []
    for symbol in nodes_of(top, ast.ProceduralBlockSymbol):
        timed = _timed_statement(symbol)
        if timed is not None:
            blocks.append((timed.stmt, _edges_of(timed.timing, findings)))
    for statement, edges in blocks:
        _judge_edges(statement, edges, findings)
    for statement, edges in blocks:
        if len(edges) == 1:  # beside an asynchronous reset a synchronous clear is an ordinary input
            _find_sync_reset(statement, findings)
    return _to_protocol([port.name for port in inputs], findings)


def constant_outputs(golden: str, top_module: str) -> frozenset[str]:
    """The outputs whose every driver is a constant expression. `UsageError` as for `infer_protocol`."""
    return _constant_ports(_top_of(golden, top_module).body)


def _top_of(golden: str, top_module: str) -> ast.InstanceSymbol:
    source = parse(golden)
    compilation = elaborate(source, top_module)
    faults = [finding for finding in compilation.getAllDiagnostics() if finding.isError()]
    top = find_top(compilation, top_module)
    if faults or top is None:
        why = source.to_diagnostics(faults)[0].message if faults else "the text has no such module"
        raise UsageError(f"cannot read '{top_module}': {why}; give Verilog that defines it")
    return top


def _ports(body: ast.InstanceBodySymbol) -> list[ast.PortSymbol]:
    return [port for port in body.portList if isinstance(port, ast.PortSymbol)]


def _follow_aliases(top: ast.InstanceSymbol, findings: _Findings) -> None:
    """Carry the inputs through instance ports and plain assignments, until nothing new is reached."""
    links: list[tuple[ast.Symbol, ast.Expression]] = []
    for instance in nodes_of(top, ast.InstanceSymbol):
        for connection in instance.portConnections if instance is not top else ():
            port = connection.port
            if (
                isinstance(port, ast.PortSymbol)
                and port.direction is ast.ArgumentDirection.In
                and connection.expression
            ):
                links.append((port.internalSymbol, connection.expression))
    for assign in nodes_of(top, ast.ContinuousAssignSymbol):
        if isinstance(assign.assignment.left, ast.NamedValueExpression):
            links.append((assign.assignment.left.symbol, assign.assignment.right))
    links += [(net, net.initializer) for net in nodes_of(top, ast.NetSymbol) if net.initializer is not None]
    for _ in links:  # a chain is at most as long as there are links
        num_known = sum(map(len, findings.aliases.values()))
        for symbol, expression in links:
            signals = findings.signals(expression) if symbol is not None else set()
            if signals:
                findings.aliases.setdefault(symbol.hierarchicalPath, set()).update(signals)
        if num_known == sum(map(len, findings.aliases.values())):
            return


def _timed_statement(block: ast.ProceduralBlockSymbol) -> ast.TimedStatement | None:
    """The `@(...)` statement of an always block, or None."""
    if block.procedureKind not in (ast.ProceduralBlockKind.Always, ast.ProceduralBlockKind.AlwaysFF):
        return None
    first = next(iter(statements(block.body)), None)
    return first if isinstance(first, ast.TimedStatement) else None


def _edges_of(timing: ast.TimingControl, findings: _Findings) -> list[tuple[_Signal, str]]:
    events = timing.events if isinstance(timing, ast.EventListControl) else [timing]
    edges = []
    for event in events:
        if isinstance(event, ast.SignalEventControl) and event.edge in _EDGES:
            edge = _EDGES[event.edge]
            for signal in findings.signals(event.expr):
                edges.append((signal, _OPPOSITE[edge] if signal.is_inverted else edge))
    return edges


def _judge_edges(statement: ast.Statement, edges: list[tuple[_Signal, str]], findings: _Findings) -> None:
    """Of several edges those that the block tests are asynchronous resets; the rest are clocks."""
    names = {signal.name for signal, _ in edges}
    tested = {
        signal.name
        for condition, _, _ in conditionals(statement)
        for value in nodes_of(condition, ast.NamedValueExpression)
        for signal in findings.signals(value)
    }
    clocks = (names - tested) or names
    for signal, edge in edges:
        if signal.name in clocks:
            findings.edges.setdefault(signal.name, set()).add(edge)
        else:
            findings.async_resets[signal.name] = edge != "negedge"


def _find_sync_reset(statement: ast.Statement, findings: _Findings) -> None:
    """The first condition that clears: what it leaves to others (a load, a clear) is an ordinary input."""
    for condition, then, otherwise in conditionals(statement):
        candidates = [(signal, then) for operand in or_operands(condition) for signal in findings.signals(operand)]
        if otherwise is not None:
            candidates += [(signal.inverted(), otherwise) for signal in findings.signals(condition)]
        for signal, branch in candidates:
            sibling = otherwise if branch is then else then
            if _clears(branch, sibling, statement):
                _note_sync_reset(signal, findings)
                return
    for item in statements(statement):
        if isinstance(item, ast.ExpressionStatement) and isinstance(item.expr, ast.AssignmentExpression):
            _judge_choice(item.expr.right, findings)


def _judge_choice(value: ast.Expression, findings: _Findings) -> None:
    """`q <= reset ? 0 : d` is a reset too."""
    while isinstance(value, ast.ConversionExpression):
        value = value.operand
    if isinstance(value, ast.ConditionalExpression) and is_constant(value.left) != is_constant(value.right):
        for signal in findings.signals(value.conditions[0].expr):
            _note_sync_reset(signal if is_constant(value.left) else signal.inverted(), findings)


def _note_sync_reset(signal: _Signal, findings: _Findings) -> None:
    if signal.name not in findings.edges and signal.name not in findings.async_resets:
        findings.sync_resets.setdefault(signal.name, not signal.is_inverted)


def _clears(branch: ast.Statement, sibling: ast.Statement | None, block: ast.Statement) -> bool:
    """Whether `branch` gives constants, unconditionally, to what the rest of `block` gives other values.

    Constants that its `sibling` gives as unconditionally are no other values: a choice of two constants is data.
    """
    inside = assignments(branch)
    cleared: set[str] = set()
    for assignment in inside:
        known = frozenset() if assignment.isNonBlocking else cleared  # `empty = sp[2]` after `sp = 4` is a constant too
        if not is_constant(assignment.right, known):
            return False
        cleared = cleared | {symbol.hierarchicalPath for symbol in written_symbols(assignment.left)}
    if any(isinstance(item, ast.ConditionalStatement | ast.CaseStatement) for item in statements(branch)):
        return False
    inside_starts = {assignment.sourceRange.start.offset for assignment in inside}
    plain_starts = {
        assignment.sourceRange.start.offset
        for item in (() if sibling is None else statements(sibling))
        if isinstance(item, ast.ExpressionStatement)
        for assignment in assignments(item)
        if is_constant(assignment.right)
    }
    return any(
        assignment.sourceRange.start.offset not in inside_starts | plain_starts
        and any(symbol.hierarchicalPath in cleared for symbol in written_symbols(assignment.left))
        for assignment in assignments(block)
    )


def _to_protocol(order: list[str], findings: _Findings) -> Protocol:
    clocks, resets = [], []
    for name in order:
        if name in findings.edges:
            edges = findings.edges[name]
            clocks.append(Clock(name=name, edge=next(iter(edges)) if len(edges) == 1 else "both"))
        elif name in findings.async_resets:
            resets.append(Reset(name=name, is_active_high=findings.async_resets[name], is_synchronous=False))
        elif name in findings.sync_resets:
            resets.append(Reset(name=name, is_active_high=findings.sync_resets[name], is_synchronous=True))
    return Protocol(clocks=tuple(clocks), resets=tuple(resets))


def _constant_ports(body: ast.InstanceBodySymbol) -> frozenset[str]:
    drivers: dict[str, list[bool]] = {}  # path of a symbol -> whether each driver of it is constant

    def note(target: ast.Expression, has_constant: bool) -> None:
        for symbol in written_symbols(target):
            drivers.setdefault(symbol.hierarchicalPath, []).append(has_constant)

    def visit(node) -> ast.VisitAction:
        match node:
            case ast.InstanceSymbol():
                constants = _constant_ports(node.body)
                for connection in node.portConnections:
                    if isinstance(connection.expression, ast.AssignmentExpression):
                        note(connection.expression.left, connection.port.name in constants)
                return ast.VisitAction.Skip
            case ast.ContinuousAssignSymbol():
                note(node.assignment.left, is_constant(node.assignment.right))
                return ast.VisitAction.Skip
            case ast.ProceduralBlockSymbol():
                _note_block(node, note)
                return ast.VisitAction.Skip
            case ast.AssignmentExpression():  # outputs of gates
                note(node.left, False)
        return ast.VisitAction.Advance

    for member in body:
        member.visit(visit)
    outputs = [port for port in _ports(body) if port.direction is ast.ArgumentDirection.Out and port.internalSymbol]
    return frozenset(
        port.name
        for port in outputs
        if all(drivers.get(port.internalSymbol.hierarchicalPath, [port.internalSymbol.initializer is not None]))
    )


def _note_block(block: ast.ProceduralBlockSymbol, note) -> None:
    """An unconditional constant assignment is a constant driver; any other in a block is not."""
    timed = next(iter(statements(block.body)), None)
    body = timed.stmt if isinstance(timed, ast.TimedStatement) else block.body
    plain = [item.expr for item in statements(body) if isinstance(item, ast.ExpressionStatement)]
    starts = {expression.sourceRange.start.offset for expression in plain}
    for assignment in assignments(block.body):
        is_plain = assignment.sourceRange.start.offset in starts
        note(assignment.left, is_plain and is_constant(assignment.right))
