"""A wrong signal where another is read: one of the same width in the same module.

Clocks and resets never stand in for data: whether that is seen would be a matter of races. Outside clocked blocks only
inputs do: anything else could close a loop that oscillates, which any oracle sees, at the price of a time-out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyslang import ast, syntax

from verifiers.elaborate import Source, elaborate
from verifiers.mutation_site import Edit, Site, ancestors, has_edges, parts, span_of
from verifiers.walk import nodes_of

_NUM_REPLACEMENTS = 2  # for each reading of a signal
_SIGNAL = ast.NetSymbol | ast.VariableSymbol
_NO_READING = (
    syntax.SignalEventExpressionSyntax  # a wrong edge is another kind of mistake
    | syntax.FunctionDeclarationSyntax  # its names are its own
    | syntax.NamedTypeSyntax
    | syntax.ScopedNameSyntax
    | syntax.PortDeclarationSyntax
    | syntax.PortReferenceSyntax
)


def signal_finder(source: Source, top_module: str) -> Callable[[Site], Iterator[Edit]]:
    """What finds the edits of this kind in the modules below `top_module`."""
    signals = _signals(source, top_module)

    def wrong_signals(site: Site) -> Iterator[Edit]:
        if not isinstance(site.node, syntax.IdentifierNameSyntax):
            return
        modules = [part for part in ancestors(site.node) if isinstance(part, syntax.ModuleDeclarationSyntax)]
        of_module = signals.get(modules[-1].header.name.valueText, {}) if modules else {}
        name = site.node.identifier.valueText
        if name in of_module and _is_read(site.node):
            is_clocked = any(
                isinstance(part, syntax.TimingControlStatementSyntax) and has_edges(part.timingControl)
                for part in ancestors(site.node)
            )
            usable = {other for other, signal in of_module.items() if is_clocked or signal.is_input}
            for other in _stand_ins(name, of_module, usable - {name}):
                yield site.edit("signal", (site.node, other))

    return wrong_signals


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signal:
    width: int  # bits
    is_input: bool


def _signals(source: Source, top_module: str) -> dict[str, dict[str, _Signal]]:
    """Module -> signal, without what some edge waits for."""
    timed = {
        name.identifier.valueText
        for event in parts(source.tree.root, syntax.SignalEventExpressionSyntax)
        if event.edge.rawText
        for name in parts(event.expr, syntax.IdentifierNameSyntax)
    }
    signals: dict[str, dict[str, _Signal]] = {}
    compilation = elaborate(source, top_module)  # held by a name: the nodes are gone with it
    for instance in nodes_of(compilation.getRoot(), ast.InstanceSymbol):
        ports = [port for port in instance.body.portList if isinstance(port, ast.PortSymbol)]
        inputs = {port.name for port in ports if port.direction is ast.ArgumentDirection.In}
        signals[instance.body.name] = {
            member.name: _Signal(width=member.type.bitWidth, is_input=member.name in inputs)
            for member in instance.body
            if isinstance(member, _SIGNAL) and member.type.isIntegral and member.name not in timed
        }
    return signals


def _stand_ins(name: str, signals: dict[str, _Signal], usable: set[str]) -> list[str]:
    """The next of the usable names with the same width in the alphabet: each signal has other ones."""
    others = sorted(other for other in usable if signals[other].width == signals[name].width)
    first = sum(other < name for other in others)
    return [*others[first:], *others[:first]][:_NUM_REPLACEMENTS]


def _is_read(node: syntax.SyntaxNode) -> bool:
    below = node
    for above in ancestors(node):
        if isinstance(above, _NO_READING):
            return False
        is_assignment = isinstance(above, syntax.BinaryExpressionSyntax) and "Assignment" in above.kind.name
        if is_assignment and span_of(above.left) == span_of(below):
            return False
        below = above
    return True
