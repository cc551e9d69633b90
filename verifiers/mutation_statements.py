"""Slightly wrong statements: conditions, branches, missing assignments, edges, resets and kinds of assignment.

Nothing here asks whether the edited text still compiles or behaves otherwise: `verifiers.mutate` and its callers do.
"""

import itertools
import re
from collections.abc import Callable, Iterator

from pyslang import parsing, syntax

from verifiers.mutation_site import OPPOSITE_EDGE, Edit, Site, ancestors, has_edges, parts, span_of

_K = syntax.SyntaxKind
_PLAIN_STATEMENT = syntax.BlockStatementSyntax | syntax.ExpressionStatementSyntax
_NAME = syntax.IdentifierNameSyntax | syntax.IdentifierSelectNameSyntax
_OPEN_VALUE = re.compile(r"=\s*\d*'(s?[bodh])?x+\s*;$", re.IGNORECASE)
_OTHER_ASSIGNMENT = {_K.AssignmentExpression: "<=", _K.NonblockingAssignmentExpression: "="}


def _negated_conditions(site: Site) -> Iterator[Edit]:
    node = site.node
    if isinstance(node, syntax.ConditionalStatementSyntax):
        yield site.edit("condition", (node.predicate, _negation(site, node)))


def _negation(site: Site, conditional: syntax.ConditionalStatementSyntax) -> str:
    return f"!({site.of(conditional.predicate)})"


def _swapped_branches(site: Site) -> Iterator[Edit]:
    node = site.node
    pairs: list[tuple[syntax.SyntaxNode, syntax.SyntaxNode]] = []
    if isinstance(node, syntax.ConditionalExpressionSyntax):
        pairs = [(node.left, node.right)]
    elif isinstance(node, syntax.ConditionalStatementSyntax) and node.elseClause is not None:
        other = node.elseClause.clause
        if isinstance(other, syntax.ConditionalStatementSyntax):  # a plain else: that is the negated condition
            pairs = [(node.statement, other.statement)]
    elif isinstance(node, syntax.CaseStatementSyntax):
        bodies = [item.clause for item in node.items if not isinstance(item, parsing.Token)]
        pairs = list(itertools.pairwise(bodies))
    for first, second in pairs:
        is_statement = isinstance(first, syntax.StatementSyntax)
        if is_statement and not (isinstance(first, _PLAIN_STATEMENT) and isinstance(second, _PLAIN_STATEMENT)):
            continue  # an `if` would take up the else of another
        if site.of(first) != site.of(second):
            yield site.edit("branches", (first, site.of(second)), (second, site.of(first)))


def _dropped_statements(site: Site) -> Iterator[Edit]:
    node = site.node
    if isinstance(node, syntax.ExpressionStatementSyntax):
        if not _OPEN_VALUE.search(site.of(node)):  # without it something definite stands there: no mistake
            yield site.edit("dropped", (node, ";"))
    elif isinstance(node, syntax.ElseClauseSyntax | syntax.StandardCaseItemSyntax):
        yield site.edit("dropped", (node, ""))


def _wrong_edges(site: Site) -> Iterator[Edit]:
    node = site.node
    if isinstance(node, syntax.SignalEventExpressionSyntax) and node.edge.rawText in OPPOSITE_EDGE:
        yield site.edit("edge", (node.edge, OPPOSITE_EDGE[node.edge.rawText]))
    elif isinstance(node, syntax.BinaryEventExpressionSyntax) and has_edges(node):
        for kept in (node.left, node.right):
            yield site.edit("edge", (node, site.of(kept)))


def _reset_polarities(site: Site) -> Iterator[Edit]:
    """An asynchronous reset with the other active level: its edge and the condition that tests it."""
    node = site.node
    if not isinstance(node, syntax.TimingControlStatementSyntax):
        return
    statement = node.statement
    if isinstance(statement, syntax.BlockStatementSyntax) and len(statement.items) > 0:
        statement = statement.items[0]
    if not isinstance(statement, syntax.ConditionalStatementSyntax):
        return
    tested = {name.identifier.valueText for name in parts(statement.predicate, _NAME)}
    for event in parts(node.timingControl, syntax.SignalEventExpressionSyntax):
        if event.edge.rawText in OPPOSITE_EDGE and tested == {site.of(event.expr)}:
            edge = (event.edge, OPPOSITE_EDGE[event.edge.rawText])
            yield site.edit("reset polarity", edge, (statement.predicate, _negation(site, statement)))


def _wrong_assignment_kinds(site: Site) -> Iterator[Edit]:
    """Blocking for non-blocking and back, in clocked blocks, where the target is read later in the same pass.

    All assignments to that target in the block change: compilers refuse a mixture.
    """
    node = site.node
    if node.kind not in _OTHER_ASSIGNMENT or not isinstance(node.parent, syntax.ExpressionStatementSyntax):
        return
    clocked = [
        above
        for above in ancestors(node)
        if isinstance(above, syntax.TimingControlStatementSyntax) and has_edges(above.timingControl)
    ]
    target = _target(node)
    if clocked and target in _names_read_after(node):
        same = [
            (part.operatorToken, _OTHER_ASSIGNMENT[node.kind])
            for part in parts(clocked[-1], syntax.BinaryExpressionSyntax)
            if part.kind is node.kind and _target(part) == target
        ]
        yield site.edit("assignment kind", *same)


def _target(assignment: syntax.BinaryExpressionSyntax) -> str:
    """The name that is assigned; the first of several."""
    names = parts(assignment.left, _NAME)
    return names[0].identifier.valueText if names else ""


def _names_read_after(node: syntax.SyntaxNode) -> set[str]:
    """Names read by the statements that follow in the enclosing blocks."""
    _, end = span_of(node)
    following = [
        item
        for block in ancestors(node)
        if isinstance(block, syntax.BlockStatementSyntax)
        for item in block.items
        if span_of(item)[0] >= end
    ]
    names = set()
    for item in following:
        assigned = [part for part in parts(item, syntax.BinaryExpressionSyntax) if part.kind in _OTHER_ASSIGNMENT]
        written = {span_of(part.left) for part in assigned}
        names |= {name.identifier.valueText for name in parts(item, _NAME) if span_of(name) not in written}
    return names


STATEMENT_FINDERS: tuple[Callable[[Site], Iterator[Edit]], ...] = (
    _negated_conditions,
    _swapped_branches,
    _dropped_statements,
    _wrong_edges,
    _reset_polarities,
    _wrong_assignment_kinds,
)
