"""Places on a syntax tree where a design can be made slightly wrong, and the edit of its text that does it.

An edit is text spliced between offsets of the tree's own nodes, so that layout and comments stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyslang import parsing, syntax

from verifiers.elaborate import Source

OPPOSITE_EDGE = {"posedge": "negedge", "negedge": "posedge"}


class MacroText(Exception):
    """A node has no place of its own in the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One mistake. `splices` are (start, end, new text), byte offsets in the source, in order and apart."""

    operator: str  # the kind of mistake, e.g. "operator", "constant", "edge"
    splices: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A node and what an edit of it needs: the source in bytes and where nodes stand in it.

    Both methods raise `MacroText` for a node that begins or ends in what a macro expands to.
    """

    node: syntax.SyntaxNode
    source: Source
    text: bytes

    def of(self, node: syntax.SyntaxNode | parsing.Token) -> str:
        """The node's own text."""
        start, end = self._place(node)
        return self.text[start:end].decode()

    def edit(self, operator: str, *replacements: tuple[syntax.SyntaxNode | parsing.Token, str]) -> Edit:
        """Each of the nodes replaced by a text."""
        splices = sorted((*self._place(node), new) for node, new in replacements)
        return Edit(operator=operator, splices=tuple(splices))

    def _place(self, node: syntax.SyntaxNode | parsing.Token) -> tuple[int, int]:
        place = node.range if isinstance(node, parsing.Token) else node.sourceRange
        if not (self.source.manager.isFileLoc(place.start) and self.source.manager.isFileLoc(place.end)):
            raise MacroText
        return span_of(node)


def span_of(node: syntax.SyntaxNode | parsing.Token) -> tuple[int, int]:
    """Start and end of a node or token in the source, in bytes."""
    if isinstance(node, parsing.Token):
        return node.range.start.offset, node.range.end.offset
    return node.sourceRange.start.offset, node.sourceRange.end.offset


def ancestors(node: syntax.SyntaxNode) -> Iterator[syntax.SyntaxNode]:
    """The nodes around a node, the nearest first."""
    while (node := node.parent) is not None:
        yield node


def parts(node: syntax.SyntaxNode, kind) -> list:
    """The nodes of a kind (or a union of kinds) in `node`, itself among them."""
    found: list = []
    node.visit(lambda part: found.append(part) if isinstance(part, kind) else None)
    return found


def has_edges(timing: syntax.SyntaxNode) -> bool:
    """Whether an event control waits for an edge."""
    return any(event.edge.rawText in OPPOSITE_EDGE for event in parts(timing, syntax.SignalEventExpressionSyntax))
