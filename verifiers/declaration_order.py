"""Puts a testbench's declarations before what uses them: Icarus 13 refuses a name that is declared further down.

Older releases accept it, and published testbenches rely on that. A variable's initial value is given before any block
runs, wherever it stands, and a net's assignment has no order, so the meaning stays.
"""

from pyslang import ast, syntax

from verifiers.elaborate import parse

STRICT_SINCE = 13  # Icarus' major version

_DECLARATIONS = (
    syntax.DataDeclarationSyntax,
    syntax.GenvarDeclarationSyntax,
    syntax.NetDeclarationSyntax,
    syntax.ParameterDeclarationStatementSyntax,
    syntax.PortDeclarationSyntax,
    syntax.TypedefDeclarationSyntax,
)


def declarations_first(text: str) -> str:
    """The text with the declarations of each module in front of its other members, both in the order they had.

    Unchanged where it holds a compiler directive, whose place would matter, or cannot be parsed.
    """
    source = parse(text)
    if "`" in _without_leading_directives(text) or any(finding.isError() for finding in source.tree.diagnostics):
        return text
    data, moves = text.encode(), []

    def visit(node) -> ast.VisitAction:
        if isinstance(node, syntax.ModuleDeclarationSyntax):
            moves.extend(_moves_of(node))
            return ast.VisitAction.Skip  # a module within keeps its order
        return ast.VisitAction.Advance

    source.tree.root.visit(visit)
    for target, pieces in reversed(moves):
        moved = b"".join(data[first:last] + b"\n" for first, last in pieces)
        for first, last in reversed(pieces):
            data = data[:first] + data[last:]
        data = data[:target] + moved + data[target:]
    return data.decode()


def _without_leading_directives(text: str) -> str:
    """The text from its first line on that is neither blank nor a directive: those act on all of it, and stay."""
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("`")), len(lines))
    return "\n".join(lines[first:])


def _moves_of(module: syntax.ModuleDeclarationSyntax) -> list[tuple[int, list[tuple[int, int]]]]:
    """Where the late declarations of a module must go, and their extents, as byte offsets; nothing for none."""
    members = list(module.members)
    first_other = next((i for i, member in enumerate(members) if not isinstance(member, _DECLARATIONS)), len(members))
    late = [member for member in members[first_other:] if isinstance(member, _DECLARATIONS)]
    if not late:
        return []
    extents = [(member.sourceRange.start.offset, member.sourceRange.end.offset) for member in late]
    return [(members[first_other].sourceRange.start.offset, extents)]
