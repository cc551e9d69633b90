"""A wrong signal where another is read: one of the same width in the same module.

Clocks and resets never stand in for data: whether that is seen would be a matter of races.
"""

from collections.abc import Callable, Iterator

from pyslang import ast, syntax

from verifiers.elaborate import Source, elaborate
from verifiers.mutation_site import Edit, Site, ancestors, parts, span_of
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
    widths = _widths(source, top_module)

    def wrong_signals(site: Site) -> Iterator[Edit]:
        if not isinstance(site.node, syntax.IdentifierNameSyntax):
            return
        modules = [part for part in ancestors(site.node) if isinstance(part, syntax.ModuleDeclarationSyntax)]
        of_module = widths.get(modules[-1].header.name.valueText, {}) if modules else {}
        name = site.node.identifier.valueText
        if name in of_module and _is_read(site.node):
            for other in _stand_ins(name, of_module):
                yield site.edit("signal", (site.node, other))

    return wrong_signals


def _widths(source: Source, top_module: str) -> dict[str, dict[str, int]]:
    """Module -> signal -> bits, without what some edge waits for."""
    widths: dict[str, dict[str, int]] = {}
    compilation = elaborate(source, top_module)  # held by a name: the nodes are gone with it
    for instance in nodes_of(compilation.getRoot(), ast.InstanceSymbol):
        signals = [member for member in instance.body if isinstance(member, _SIGNAL) and member.type.isIntegral]
        widths.setdefault(instance.body.name, {signal.name: signal.type.bitWidth for signal in signals})
    timed = {
        name.identifier.valueText
        for event in parts(source.tree.root, syntax.SignalEventExpressionSyntax)
        if event.edge.rawText
        for name in parts(event.expr, syntax.IdentifierNameSyntax)
    }
    return {
        module: {name: width for name, width in of_module.items() if name not in timed}
        for module, of_module in widths.items()
    }


def _stand_ins(name: str, widths: dict[str, int]) -> list[str]:
    """The next names of the same width in the alphabet: each signal has other ones."""
    others = sorted(other for other, width in widths.items() if width == widths[name] and other != name)
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
