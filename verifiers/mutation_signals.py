"""A wrong signal where another is read: one of the same width in the same module.

Clocks and resets never stand in for data: whether that is seen would be a matter of races.
"""

import itertools

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


def wrong_signals(source: Source, text: bytes, top_module: str) -> list[Edit]:
    """The edits of this kind in the modules below `top_module`, in source order."""
    widths = _widths(source, top_module)
    found: list[Edit] = []
    for module in source.tree.root.members:
        if isinstance(module, syntax.ModuleDeclarationSyntax):
            of_module = widths.get(module.header.name.valueText, {})
            for name in parts(module, syntax.IdentifierNameSyntax):
                found += _edits_at(Site(node=name, text=text), of_module)
    return found


def _widths(source: Source, top_module: str) -> dict[str, dict[str, int]]:
    """Module -> signal -> bits, without what some edge waits for."""
    widths: dict[str, dict[str, int]] = {}
    for instance in nodes_of(elaborate(source, top_module).getRoot(), ast.InstanceSymbol):
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


def _edits_at(site: Site, widths: dict[str, int]) -> list[Edit]:
    name = site.node.identifier.valueText
    if name not in widths or not _is_read(site.node):
        return []
    others = sorted(other for other, width in widths.items() if width == widths[name] and other != name)
    # The next names in the alphabet: each signal has other stand-ins.
    first = sum(other < name for other in others)
    chosen = itertools.islice(itertools.chain(others[first:], others[:first]), _NUM_REPLACEMENTS)
    return [site.edit("signal", (site.node, other)) for other in chosen]


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
