"""Renames a stock testbench and its golden with a fresh nonce, so that no candidate can name or imitate any of it.

Every name that the harness declares (modules, instances, tasks, blocks, nets, macros) gets the nonce as a suffix, and
the text of its result line the nonce in front. What keeps its name is the candidate's interface: its module, its ports
and parameters, and what the harness names inside of it. The suffix starts with `$`, which sorts before all that may
stand in a name: a simulator that orders things by name orders them as before. Runs nothing and judges nothing.
"""

import itertools
import re
from dataclasses import dataclass

from pyslang import ast, parsing, syntax

from verifiers.elaborate import Source, parse
from verifiers.errors import ProblemError
from verifiers.lexer import LexemeKind, lex
from verifiers.types import PassRule, TestbenchOracle
from verifiers.walk import name_components

# What the result line holds; in the harness under a nonce, the nonce and a space stand in front of it.
MARKED = {PassRule.MISMATCH_COUNT: "Mismatches:", PassRule.BANNER: "Your Design Passed"}

# What ends a run. A testbench without any of them runs for ever where it has a clock: it is ended after that many of
# its time units.
_ENDS = frozenset(("$finish", "$stop", "$fatal", "$finish_and_return", "$exit"))
_LONGEST_RUN = 1_000_000

# Words of directives and methods of built-in types: names that a harness may use without declaring them.
_RESERVED_TEXT = """
    s ms us ns ps fs none wire name next prev first last num size delete push_back push_front pop_back pop_front
    len substr exists insert min max sum unique find reverse sort shuffle triggered randomize"""
_RESERVED = frozenset(_RESERVED_TEXT.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Template:
    """A text and the places in it at which something is put in: (offset, whether a name ends there)."""

    text: str
    places: tuple[tuple[int, bool], ...]

    def render(self, nonce: str) -> str:
        pieces, start = [], 0
        for offset, is_name in self.places:
            pieces += (self.text[start:offset], f"${nonce}" if is_name else f"{nonce} ")
            start = offset
        return "".join((*pieces, self.text[start:]))


@dataclass(frozen=True, kw_only=True, slots=True)
class StockHarness:
    """A stock testbench, with the golden that it instantiates if it does, ready to be renamed any number of times."""

    top: str
    testbench: _Template
    golden: _Template | None

    def render(self, nonce: str) -> tuple[str, str]:
        """The name of the root module and the text of the harness under a nonce."""
        texts = [part.render(nonce) for part in (self.testbench, self.golden) if part is not None]
        return f"{self.top}${nonce}", "\n".join(texts)


def harness_of_json(data: dict) -> StockHarness:
    """The harness whose fields, as dicts and lists, are `data`."""
    testbench, golden = (
        None if part is None else _Template(text=part["text"], places=tuple(map(tuple, part["places"])))
        for part in (data["testbench"], data["golden"])
    )
    assert testbench is not None, "a harness without a testbench"
    return StockHarness(top=data["top"], testbench=testbench, golden=golden)


@dataclass(slots=True)
class _Names:
    """What the syntax trees of a harness tell about its names."""

    modules: set[str]
    instantiated: set[str]
    declared: set[str]
    kept: set[str]
    candidate_instances: set[str]
    dotted: list[list[str]]


def read_harness(oracle: TestbenchOracle, *, candidate_top: str, port_names: frozenset[str]) -> StockHarness:
    """The harness of an oracle around a module `candidate_top` with ports of these names (they may be unknown).

    The golden takes part where the testbench instantiates a module of it. Raises ProblemError for a testbench
    that has a syntax error, several root modules, no instance of the candidate or no result line.
    """
    names = _read_names(oracle.testbench, candidate_top)
    top, golden = oracle.top, oracle.golden
    if candidate_top not in names.instantiated:
        raise ProblemError(f"the testbench never instantiates {candidate_top}. Repair the problem.")
    if top is None:
        roots = sorted(names.modules - names.instantiated)
        if len(roots) != 1:
            raise ProblemError(f"the testbench has the root modules {roots}. Name one as the oracle's `top`.")
        [top] = roots
    if top not in names.modules:
        raise ProblemError(f"the testbench has no module {top}, only {sorted(names.modules)}.")
    if golden is not None:
        inner = _read_names(golden, candidate_top)
        if inner.modules & (names.instantiated - {candidate_top}):  # of that name the candidate is there already
            names.declared |= inner.declared
            names.kept |= inner.kept
        else:
            golden = None
    renamed = names.declared - names.kept - _RESERVED - port_names - {candidate_top}
    marked = MARKED[oracle.rule]
    template = _template(_with_end(oracle.testbench, top), renamed, marked)
    if all(is_name for _, is_name in template.places):
        raise ProblemError(f"the testbench prints no line with {marked!r}. Repair the problem.")
    return StockHarness(
        top=top,
        testbench=template,
        golden=None if golden is None else _template(golden, renamed, None),
    )


def _with_end(text: str, top: str) -> str:
    """The testbench with an end to its run, where it has none of its own."""
    if any(lexeme.kind is LexemeKind.IDENTIFIER and text[lexeme.start : lexeme.end] in _ENDS for lexeme in lex(text)):
        return text
    ends = []

    def visit(node) -> ast.VisitAction:
        if isinstance(node, syntax.ModuleDeclarationSyntax) and node.header.name.valueText == top:
            ends.append(node.endmodule.range.start.offset)
        return ast.VisitAction.Advance

    parse(text).tree.root.visit(visit)
    data = text.encode()
    return (data[: ends[0]] + f"\ninitial #{_LONGEST_RUN} $finish(0);\n".encode() + data[ends[0] :]).decode()


def _template(text: str, renamed: set[str], marked: str | None) -> _Template:
    places = []
    for lexeme in lex(text):
        word = text[lexeme.start : lexeme.end]
        if lexeme.kind in (LexemeKind.IDENTIFIER, LexemeKind.DIRECTIVE):
            if word.lstrip("\\`") in renamed:
                places.append((lexeme.end, True))
        elif lexeme.kind is LexemeKind.STRING and marked is not None:
            places += [(lexeme.start + match.start(), False) for match in re.finditer(re.escape(marked), word)]
    return _Template(text=text, places=tuple(places))


def _read_names(text: str, candidate_top: str) -> _Names:
    source = parse(text)
    faults = [finding for finding in source.tree.diagnostics if finding.isError()]
    if faults:
        said = source.to_diagnostics(faults)[0]
        raise ProblemError(f"line {said.line} of the harness cannot be parsed: {said.message}.")
    names = _Names(
        modules=set(), instantiated=set(), declared=_macros(text), kept=set(), candidate_instances=set(), dotted=[]
    )
    _visit(source, names, candidate_top)
    for path in names.dotted:
        inside = next((i for i, name in enumerate(path) if name in names.candidate_instances), None)
        if inside is not None:
            names.kept.update(path[inside + 1 :])
    return names


def _macros(text: str) -> set[str]:
    words = [text[x.start : x.end] for x in lex(text) if x.kind not in (LexemeKind.WHITESPACE, LexemeKind.COMMENT)]
    return {name for word, name in itertools.pairwise(words) if word == "`define"}


def _visit(source: Source, names: _Names, candidate_top: str) -> None:
    def visit(node) -> ast.VisitAction:
        match node:
            case parsing.Token():
                pass
            case syntax.ModuleDeclarationSyntax():
                names.modules.add(node.header.name.valueText)
                names.declared.add(node.header.name.valueText)
            case syntax.HierarchyInstantiationSyntax():
                names.instantiated.add(node.type.valueText)
                if node.type.valueText == candidate_top:
                    _note_candidate(node, names)
            case syntax.InstanceNameSyntax() | syntax.DeclaratorSyntax() | syntax.NamedBlockClauseSyntax():
                names.declared.add(node.name.valueText)
            case syntax.NamedLabelSyntax() | syntax.TypedefDeclarationSyntax() | syntax.ClassDeclarationSyntax():
                names.declared.add(node.name.valueText)
            case syntax.FunctionPrototypeSyntax():
                names.declared.add(node.name.getLastToken().valueText)
            case syntax.GenvarDeclarationSyntax():
                names.declared.update(item.identifier.valueText for item in node.identifiers if _is_name(item))
            case syntax.ScopedNameSyntax():
                names.dotted.append(name_components(node))
        return ast.VisitAction.Advance

    source.tree.root.visit(visit)


def _is_name(item) -> bool:
    return isinstance(item, syntax.IdentifierNameSyntax)


def _note_candidate(node: syntax.HierarchyInstantiationSyntax, names: _Names) -> None:
    """Note the instances of the candidate, and the names of its ports and parameters that the harness connects."""

    def visit(part) -> ast.VisitAction:
        match part:
            case syntax.InstanceNameSyntax():
                names.candidate_instances.add(part.name.valueText)
            case syntax.NamedPortConnectionSyntax() | syntax.NamedParamAssignmentSyntax():
                names.kept.add(part.name.valueText)
        return ast.VisitAction.Advance

    node.visit(visit)
