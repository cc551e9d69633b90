"""pyslang, set up once for everyone: parse a text, elaborate it, turn its findings into `Diagnostic`.

It judges nothing. The settings follow what Icarus accepts where pyslang is stricter than a simulator needs to be.
A fresh SourceManager a text: the default one keeps every text it has seen.
"""

import functools
from dataclasses import dataclass

import pyslang
from pyslang import ast, parsing, syntax

from toolchain.diagnostics import Diagnostic

_NUM_KEPT = 32  # texts that were last parsed, and designs: one candidate is asked for by several checks in turn
_MAX_NESTING = 256  # the parser's own limit, well below what its C++ stack bears

_FLAGS = (
    ast.CompilationFlags.AllowUseBeforeDeclare
    | ast.CompilationFlags.RelaxEnumConversions
    | ast.CompilationFlags.RelaxStringConversions
    | ast.CompilationFlags.AllowHierarchicalConst
    | ast.CompilationFlags.AllowMergingAnsiPorts
    | ast.CompilationFlags.AllowBareValParamAssignment
    | ast.CompilationFlags.AllowUnnamedGenerate
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A parsed text and what finds its lines."""

    tree: syntax.SyntaxTree
    manager: pyslang.SourceManager

    def line_of(self, location: pyslang.SourceLocation) -> int:
        """The 1-based line in the text; for code out of a macro, the line that uses it."""
        return self.manager.getLineNumber(self.manager.getFullyExpandedLoc(location))

    def to_diagnostics(self, findings: list[pyslang.Diagnostic]) -> tuple[Diagnostic, ...]:
        """Our form of pyslang's findings, in its order."""
        engine = pyslang.DiagnosticEngine(self.manager)
        return tuple(
            Diagnostic(
                message=engine.formatMessage(finding), code=code_of(finding), line=self.line_of(finding.location)
            )
            for finding in findings
        )


def code_of(finding: pyslang.Diagnostic) -> str:
    """pyslang's name of a finding, e.g. "UndeclaredIdentifier"."""
    return str(finding.code).removeprefix("DiagCode(").removesuffix(")")


@functools.lru_cache(maxsize=_NUM_KEPT)
def parse(text: str) -> Source:
    """The syntax tree of `text`, whatever its faults. Text without lone surrogates never raises.

    Trees and designs are only read, so the last ones are kept.
    """
    manager = pyslang.SourceManager()
    options = parsing.ParserOptions()
    options.maxRecursionDepth = _MAX_NESTING
    preprocessor = parsing.PreprocessorOptions()
    preprocessor.maxIncludeDepth = 0
    bag = pyslang.Bag([options, preprocessor])
    tree = syntax.SyntaxTree.fromFileInMemory(text, manager, "candidate", "", bag)
    return Source(tree=tree, manager=manager)


def module_names(source: Source) -> list[str]:
    """The names of the text's own modules, in order."""
    return [
        member.header.name.valueText
        for member in source.tree.root.members
        if isinstance(member, syntax.ModuleDeclarationSyntax) and member.kind is syntax.SyntaxKind.ModuleDeclaration
    ]


@functools.lru_cache(maxsize=_NUM_KEPT)
def elaborate(source: Source, top_module: str | None = None) -> ast.Compilation:
    """The elaborated design below `top_module`; None makes every module that nothing instantiates a top of its own."""
    options = ast.CompilationOptions()
    options.flags = _FLAGS
    options.maxInstanceDepth = 64
    options.maxGenerateSteps = 16_384
    options.maxConstexprSteps = 100_000
    options.maxInstanceArray = 4_096
    options.errorLimit = 20
    if top_module is not None:
        options.topModules = {top_module}
    compilation = ast.Compilation(pyslang.Bag([options]))
    compilation.addSyntaxTree(source.tree)
    compilation.getRoot()
    return compilation
