"""Mutants of a design: copies with one small mistake each, to see whether an oracle notices.

They are drawn by chance, evenly over the kinds of mistake (`mutation_expressions`, `mutation_statements`), and only
those that pass the static checks count. Whether a mutant behaves otherwise than the design is not known here: that
takes a proof.
"""

import random
from contextlib import suppress
from dataclasses import dataclass

from pyslang import ast, parsing, syntax

from verifiers.elaborate import Source, parse
from verifiers.mutation_expressions import EXPRESSION_FINDERS
from verifiers.mutation_signals import signal_finder
from verifiers.mutation_site import Edit, MacroText, Site, span_of
from verifiers.mutation_statements import STATEMENT_FINDERS
from verifiers.static_check import static_check
from verifiers.types import Port

MAX_MUTANTS = 50
_SHOWN_CHARACTERS = 60
_PORT = syntax.PortHeaderSyntax | syntax.PortDeclarationSyntax | syntax.FunctionPortSyntax


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A design with one mistake. `line` is 1-based, in the source and in the mutant alike."""

    operator: str  # the kind of mistake
    line: int
    before: str  # what stood there, shortened, in one line
    after: str
    source_line: str  # the whole line as it was, stripped
    text: str


def mutants_of(
    source: str, top_module: str, ports: tuple[Port, ...], *, seed: int, limit: int = MAX_MUTANTS
) -> tuple[Mutant, ...]:
    """Up to `limit` distinct mutants of a design that define `top_module` with `ports`, in source order.

    Equal arguments, equal mutants. Empty for a design that holds nothing to change.
    """
    parsed = parse(source)
    text = source.encode()
    edits = _edits_of(parsed, text, top_module)
    seen, chosen = {text}, []
    for edit in _in_turn(edits, random.Random(seed)):
        mutated = _apply(text, edit)
        if mutated in seen:
            continue
        seen.add(mutated)
        if static_check(mutated.decode(), top_module, ports) is None:
            chosen.append((edit, mutated.decode()))
        if len(chosen) == limit:
            break
    chosen.sort(key=lambda pair: (pair[0].splices, pair[1]))
    return tuple(_describe(text, edit, mutated) for edit, mutated in chosen)


def _edits_of(source: Source, text: bytes, top_module: str) -> list[Edit]:
    """All edits of the modules below `top_module` and of what stands outside any module, in source order."""
    found: list[Edit] = []
    modules = _reachable_modules(source, top_module)
    finders = (*EXPRESSION_FINDERS, *STATEMENT_FINDERS, signal_finder(source, top_module))

    def visit(node) -> ast.VisitAction:
        if isinstance(node, parsing.Token):
            return ast.VisitAction.Advance
        if isinstance(node, syntax.ModuleDeclarationSyntax) and node.header.name.valueText not in modules:
            return ast.VisitAction.Skip
        if isinstance(node, _PORT) or _is_loop_control(node):
            return ast.VisitAction.Skip
        site = Site(node=node, source=source, text=text)
        for finder in finders:
            with suppress(MacroText):  # what a macro expands to is left alone
                found.extend(finder(site))
        # The bounds of a declaration are no expressions to play with: only its width changes.
        is_dimension = isinstance(node, syntax.VariableDimensionSyntax)
        return ast.VisitAction.Skip if is_dimension else ast.VisitAction.Advance

    source.tree.root.visit(visit)
    return found


def _is_loop_control(node: syntax.SyntaxNode) -> bool:
    """Whether the node sets up or steps a loop: an edit there mostly hangs, which any oracle sees."""
    loop = node.parent
    if isinstance(loop, syntax.ForLoopStatementSyntax):
        return span_of(node) not in (span_of(loop.statement), span_of(loop.stopExpr))
    if isinstance(loop, syntax.LoopGenerateSyntax):
        return span_of(node) not in (span_of(loop.block), span_of(loop.stopExpr))
    return False


def _in_turn(edits: list[Edit], rng: random.Random) -> list[Edit]:
    """The edits in an order of chance that takes from each kind of mistake in turn."""
    by_operator: dict[str, list[Edit]] = {}
    for edit in edits:
        by_operator.setdefault(edit.operator, []).append(edit)
    ordered = []
    for group in by_operator.values():
        rng.shuffle(group)
        ordered += [(turn, edit.operator, edit) for turn, edit in enumerate(group)]
    return [edit for _, _, edit in sorted(ordered, key=lambda item: item[:2])]


def _apply(text: bytes, edit: Edit) -> bytes:
    pieces, position = [], 0
    for start, end, new in edit.splices:
        assert position <= start <= end, f"splices overlap: {edit}"
        pieces += [text[position:start], new.encode()]
        position = end
    return b"".join([*pieces, text[position:]])


def _describe(text: bytes, edit: Edit, mutated: str) -> Mutant:
    start = edit.splices[0][0]
    first = text.rfind(b"\n", 0, start) + 1
    last = text.find(b"\n", start)
    line_end = last if last >= 0 else len(text)
    return Mutant(
        operator=edit.operator,
        line=text.count(b"\n", 0, start) + 1,
        before=_shown(text[start:end].decode() for start, end, _ in edit.splices),
        after=_shown(new for _, _, new in edit.splices),
        source_line=text[first:line_end].decode().strip(),
        text=mutated,
    )


def _shown(pieces) -> str:
    shown = " .. ".join(" ".join(piece.split()) or "(nothing)" for piece in pieces)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 3] + "..."


def _reachable_modules(source: Source, top_module: str) -> frozenset[str]:
    """The modules below `top_module`, itself among them: what nothing instantiates has no behaviour to change."""
    instantiated: dict[str, set[str]] = {}
    for module in source.tree.root.members:
        if isinstance(module, syntax.ModuleDeclarationSyntax):
            types: set[str] = set()
            module.visit(
                lambda node, types=types: (
                    types.add(node.type.valueText) if isinstance(node, syntax.HierarchyInstantiationSyntax) else None
                )
            )
            instantiated[module.header.name.valueText] = types
    reached, pending = set(), [top_module]
    while pending:
        name = pending.pop()
        if name in instantiated and name not in reached:
            reached.add(name)
            pending += instantiated[name]
    return frozenset(reached)
