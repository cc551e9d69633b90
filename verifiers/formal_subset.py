"""Where a netlist and a simulator may disagree about a source: the designs of which no proof is claimed.

Synthesis reads a sensitivity list, a delay, a race between blocks or a two-state variable otherwise than a simulator
does. This walks the elaborated design and names the first such place. It does not judge the design.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyslang import ast

from verifiers.elaborate import elaborate, parse
from verifiers.interface import find_top
from verifiers.types import Protocol
from verifiers.walk import assignments, nodes_of, written_symbols

_ATTRIBUTE = re.compile(r"\(\*(?!\s*\))")  # full_case and its like change what synthesis makes of a case
_NET_TYPES = ("wire", "tri", "uwire")
_REFUSED_STATEMENTS = {
    ast.WaitStatement: "a wait",
    ast.WaitForkStatement: "a wait",
    ast.WaitOrderStatement: "a wait",
    ast.EventTriggerStatement: "an event trigger",
    ast.ProceduralAssignStatement: "a procedural continuous assignment",
    ast.ProceduralDeassignStatement: "a procedural continuous assignment",
    ast.ForeverLoopStatement: "an endless loop",
    ast.DisableStatement: "a disable statement",
    ast.DisableForkStatement: "a disable statement",
}
_NO_CHECK = ast.UniquePriorityCheck.None_
_READS = ast.NamedValueExpression | ast.HierarchicalValueExpression


@dataclass(slots=True)
class _Block:
    """A procedural block: what it waits for, writes and reads (symbols by path)."""

    kind: str  # "initial", "comb" (always_comb, always_latch), "star", "list" or "edge"
    listed: set[str] = field(default_factory=set)  # paths in the sensitivity list
    written: dict[str, ast.Symbol] = field(default_factory=dict)
    blocking: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)


class _Doubt(Exception):
    """The first place where simulation and synthesis may disagree."""


def simulation_doubt(text: str, top_module: str, protocol: Protocol) -> str | None:
    """Why a netlist of this design may not do what a simulator does; None when nothing speaks against it.

    `text` must have passed `static_check`, or be a golden. Runs native code over it: call it in a process that may be
    killed.
    """
    if _ATTRIBUTE.search(text):
        return "an attribute may change what synthesis makes of the source"
    top = find_top(elaborate(parse(text), top_module), top_module)
    if top is None:
        return f"the module {top_module} does not elaborate"
    try:
        _check(top, protocol)
    except _Doubt as doubt:
        return str(doubt)
    return None


def _check(top: ast.InstanceSymbol, protocol: Protocol) -> None:
    _check_nodes(top)
    blocks = [_read_block(symbol) for symbol in nodes_of(top, ast.ProceduralBlockSymbol)]
    continuous = nodes_of(top, ast.ContinuousAssignSymbol)
    _check_drivers(blocks, continuous)
    _check_sensitivity(top, blocks, protocol)
    _check_races(top, blocks)


def _input_paths(top: ast.InstanceSymbol) -> dict[str, str]:
    """The paths of the top's inputs by name."""
    return {
        port.name: port.internalSymbol.hierarchicalPath
        for port in top.body.portList
        if port.direction == ast.ArgumentDirection.In and port.internalSymbol is not None
    }


def _check_nodes(top: ast.InstanceSymbol) -> None:
    inputs = set(_input_paths(top).values())

    errors: list[_Doubt] = []

    def guarded(node) -> ast.VisitAction:
        try:
            _check_node(node, inputs)
        except _Doubt as doubt:
            errors.append(doubt)
            return ast.VisitAction.Interrupt
        return ast.VisitAction.Advance

    top.visit(guarded)
    if errors:
        raise errors[0]


def _check_node(node, inputs: set[str]) -> None:
    for kind, name in _REFUSED_STATEMENTS.items():
        if isinstance(node, kind):
            raise _Doubt(f"the design has {name}")
    match node:
        case ast.BlockStatement() if node.blockKind != ast.StatementBlockKind.Sequential:
            raise _Doubt("the design has a fork")
        case ast.CaseStatement():
            _check_case(node, inputs)
        case ast.ConditionalStatement() if node.check != _NO_CHECK:
            raise _Doubt("unique and priority promise what a simulator does not enforce")
        case ast.AssignmentExpression() if node.timingControl is not None:
            raise _Doubt("an assignment has a delay")
        case ast.ContinuousAssignSymbol() | ast.PrimitiveInstanceSymbol() if node.delay is not None:
            raise _Doubt("an assignment has a delay")
        case ast.NetSymbol():
            if node.delay is not None or node.netType.name not in _NET_TYPES:
                raise _Doubt("a net has a delay or is no plain wire")
        case ast.SubroutineSymbol():
            _check_subroutine(node)


def _check_case(node: ast.CaseStatement, inputs: set[str]) -> None:
    if node.check != _NO_CHECK:
        raise _Doubt("unique and priority promise what a simulator does not enforce")
    if node.condition == ast.CaseStatementCondition.Inside:
        raise _Doubt("a case inside matches by wildcards")
    if node.condition == ast.CaseStatementCondition.WildcardXOrZ and not _paths_read([node.expr]) <= inputs:
        raise _Doubt("a casex takes an unknown selector for any value")
    if node.condition == ast.CaseStatementCondition.Normal:
        texts = [str(literal.value) for item in node.items for part in item.expressions for literal in _literals(part)]
        if any(set(text.partition("'")[2].lower()) & set("xz?") for text in texts):
            raise _Doubt("a case item is compared with x or z")


def _literals(expression: ast.Expression) -> list:
    return nodes_of(expression, ast.IntegerLiteral | ast.UnbasedUnsizedIntegerLiteral)


def _paths_read(nodes: Iterable) -> set[str]:
    return {
        read.symbol.hierarchicalPath
        for node in nodes
        for read in nodes_of(node, _READS)
        if read.symbol.kind in (ast.SymbolKind.Variable, ast.SymbolKind.Net)
    }


def _check_subroutine(node: ast.SubroutineSymbol) -> None:
    own = f"{node.hierarchicalPath}."
    if any(not path.startswith(own) for path in _paths_read([node.body])):
        raise _Doubt(f"the function {node.name} uses signals that are not its arguments")


def _read_block(symbol: ast.ProceduralBlockSymbol) -> _Block:
    kinds = ast.ProceduralBlockKind
    statement = symbol.body
    if symbol.procedureKind == kinds.Initial:
        block = _Block(kind="initial")
    elif symbol.procedureKind in (kinds.AlwaysComb, kinds.AlwaysLatch):
        block = _Block(kind="comb")
    elif isinstance(statement, ast.TimedStatement):
        block = _timed_block(statement.timing)
        statement = statement.stmt
    else:
        raise _Doubt("an always block waits for nothing at its head")
    if nodes_of(statement, ast.TimedStatement):
        raise _Doubt("a block waits within itself")
    for assignment in assignments(statement):
        for target in written_symbols(assignment.left):
            block.written[target.hierarchicalPath] = target
            if not assignment.isNonBlocking:
                block.blocking.add(target.hierarchicalPath)
    block.read = _paths_read([statement])
    return block


def _timed_block(timing: ast.TimingControl) -> _Block:
    if isinstance(timing, ast.ImplicitEventControl):
        return _Block(kind="star")
    events = timing.events if isinstance(timing, ast.EventListControl) else [timing]
    if not all(isinstance(event, ast.SignalEventControl) and event.iffCondition is None for event in events):
        raise _Doubt("an always block waits for a time or a condition")
    edges = {event.edge == ast.EdgeKind.None_ for event in events}
    if len(edges) > 1:
        raise _Doubt("an always block waits for edges and levels")
    if not edges.pop():
        return _Block(kind="edge")
    if not all(isinstance(event.expr, _READS) for event in events):
        raise _Doubt("a sensitivity list names a part of a signal")
    return _Block(kind="list", listed={event.expr.symbol.hierarchicalPath for event in events})


def _check_drivers(blocks: list[_Block], continuous: list[ast.ContinuousAssignSymbol]) -> None:
    drivers: dict[str, int] = {}
    for block in blocks:
        if block.kind != "initial":
            for path, symbol in block.written.items():
                if not _is_of_module(symbol):
                    continue
                drivers[path] = drivers.get(path, 0) + 1
                if not symbol.type.isFourState:
                    raise _Doubt(f"{symbol.name} has a two-state type")
    for assign in continuous:
        for symbol in written_symbols(assign.assignment.left):
            if symbol.hierarchicalPath in drivers:
                raise _Doubt(f"{symbol.name} is driven by a block and an assignment")
    several = [path for path, count in drivers.items() if count > 1]
    if several:
        raise _Doubt(f"{several[0]} is driven by several blocks")


def _is_of_module(symbol: ast.Symbol) -> bool:
    """Whether a variable belongs to a module, not to a block or a function in it."""
    return not symbol.parentScope.isProceduralContext


def _check_sensitivity(top: ast.InstanceSymbol, blocks: list[_Block], protocol: Protocol) -> None:
    """A block that waits for changes is as good as logic once it has run: what makes sure that it runs?"""
    clocks = {clock.name for clock in protocol.clocks}
    # Every input but a clock changes from x when the run begins.
    waking = {path for name, path in _input_paths(top).items() if name not in clocks}
    is_initialised = any(block.kind == "initial" and block.written for block in blocks) or any(
        variable.initializer is not None and _is_of_module(variable) for variable in nodes_of(top, ast.VariableSymbol)
    )
    for block in blocks:
        if block.kind not in ("star", "list"):
            continue
        inputs = block.read - set(block.written)
        if block.kind == "list" and not inputs <= block.listed:
            raise _Doubt(f"a sensitivity list lacks {min(inputs - block.listed)}")
        if inputs & waking:
            continue
        if not inputs or is_initialised or (protocol.clocks and not protocol.resets):
            raise _Doubt("a combinational block may never be woken, or too late")


def _check_races(top: ast.InstanceSymbol, blocks: list[_Block]) -> None:
    """A blocking assignment at a clock edge is seen by other blocks at that edge, or is not."""
    clocked = [block for block in blocks if block.kind == "edge"]
    if len(clocked) < 2:
        return
    connected = _paths_read(
        [assign.assignment.right for assign in nodes_of(top, ast.ContinuousAssignSymbol)]
        + [
            connection.expression
            for instance in nodes_of(top, ast.InstanceSymbol)
            if instance is not top
            for connection in instance.portConnections
            if connection.expression is not None
        ]
    )
    for block in clocked:
        others = connected.union(*(other.read for other in blocks if other is not block))
        if block.blocking & others:
            raise _Doubt(
                f"{min(block.blocking & others)} is set by a blocking assignment at a clock edge and read elsewhere"
            )
