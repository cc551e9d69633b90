"""Cones by pyverilog's dataflow analyser: which signals an output depends on, and on which lines those are assigned.

An independent view beside `verifiers.cone`'s, on request: it is slow, and knows Verilog-2001 only. Text with compiler
directives is not read: pyverilog's preprocessor would start another program on it. For text that pyverilog refuses,
`cone_of_either` walks pyslang's tree instead.
"""

import functools
import logging
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence

from toolchain.errors import ToolNotFound, UsageError
from verifiers.cone import cone_of
from verifiers.lexer import LexemeKind, lex

_RENAMED = re.compile(r"_rn\d+_")  # pyverilog's prefix of a signal between two blocking assignments


def cone_of_either(text: str, top_module: str, outputs: Sequence[str]) -> tuple[dict[str, frozenset[int]], str]:
    """The cones as `verifiers.cone.cone_of`, and who drew them: "pyverilog", or "pyslang" where that refuses the text.

    Raises as `cone_of` does, and ToolNotFound without pyverilog.
    """
    try:
        return cone_by_pyverilog(text, top_module, outputs), "pyverilog"
    except UsageError:
        return cone_of(text, top_module, outputs), "pyslang"


def cone_by_pyverilog(text: str, top_module: str, outputs: Sequence[str]) -> dict[str, frozenset[int]]:
    """The lines that drive each of `outputs`, by pyverilog. Raises UsageError for what it cannot read.

    The lines are those of assignments, of the conditions around them and of instances; a condition's signals count.
    """
    if any(lexeme.kind is LexemeKind.DIRECTIVE for lexeme in lex(text)):
        raise UsageError("pyverilog's cone needs text without compiler directives; walk pyslang's tree instead.")
    parser = _parser()
    from pyverilog.dataflow.modulevisitor import ModuleVisitor
    from pyverilog.dataflow.signalvisitor import SignalVisitor

    try:
        parser.lexer.reset_lineno()  # it goes on counting otherwise
        tree = parser.parse(text)
        modules = ModuleVisitor()
        modules.visit(tree)
        table = modules.get_moduleinfotable()
        signals = SignalVisitor(table, top_module)
        signals.start_visit()
        visitor = _line_visitor_class()(table, top_module, signals.getFrameTable())
        visitor.start_visit()
        binds = visitor.getDataflows().getBinddict()
    except Exception as error:  # the boundary of a library that raises whatever it met
        raise UsageError(f"pyverilog cannot read the text: {type(error).__name__}: {error}") from error
    reads = {str(name): _reads_of(found) for name, found in binds.items()}
    missing = [name for name in outputs if f"{top_module}.{name}" not in reads]
    if missing:
        raise UsageError(f"pyverilog finds no driver of {missing[0]!r}")
    return {name: _follow(f"{top_module}.{name}", reads, visitor.lines) for name in outputs}


@functools.cache
def _parser():
    """pyverilog's parser, built once a process: its tables take most of a second."""
    try:
        from pyverilog.vparser.parser import VerilogParser
    except ImportError as error:
        raise ToolNotFound("pyverilog was not found. Install it: pip install 'earl-rtl[cone]'.") from error
    logging.getLogger("ply").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="earl-ply-") as folder:  # ply writes its tables somewhere
        return VerilogParser(outputdir=folder, debug=False)


@functools.cache
def _line_visitor_class() -> type:
    """pyverilog's visitor of assignments, made to note the lines of each signal's drivers."""
    from pyverilog.dataflow.bindvisitor import BindVisitor

    class LineVisitor(BindVisitor):
        def __init__(self, table, top: str, frames) -> None:
            super().__init__(table, top, frames)
            self.lines: dict[str, set[int]] = defaultdict(set)
            self._around: list[int] = []

        def _note(self, destinations, *lines: int) -> None:
            for destination in destinations:
                self.lines[str(destination[0])].update(line for line in (*lines, *self._around) if line)

        def addBind(self, left, right, alwaysinfo=None, bindtype=None):
            if bindtype not in ("parameter", "localparam"):
                place = (node.lineno for node in (left, right) if not isinstance(node, str))
                self._note(self.getDestinations(left, self.frames.getCurrent()), *place)
            return super().addBind(left, right, alwaysinfo, bindtype)

        def addInstancePortBind(self, port, instportname=None, arrayindex=None):
            inside = self.frames.getCurrent()
            name = instportname if port.portname is None else port.portname
            destination = self.getDestinations(name, inside)
            types = self.getTermtype(destination[0][0]) if destination[0][0] is not None else ()
            if "Input" in types:
                self._note(destination, port.lineno)
            if "Output" in types and port.argname is not None:
                self._note(self.getDestinations(port.argname, inside[:-1]), port.lineno)
            return super().addInstancePortBind(port, instportname, arrayindex)

        def _visit_around(self, node, lines: list[int], visit):
            self._around += lines
            try:
                return visit(node)
            finally:
                del self._around[len(self._around) - len(lines) :]

        def visit_Always(self, node):
            listed = [] if node.sens_list is None else [sens for sens in node.sens_list.list if sens.type != "all"]
            return self._visit_around(node, [sens.lineno for sens in listed], super().visit_Always)

        def visit_IfStatement(self, node):
            return self._visit_around(node, [node.cond.lineno], super().visit_IfStatement)

        def visit_CaseStatement(self, node):
            return self._visit_around(node, [node.comp.lineno], super().visit_CaseStatement)

        def visit_CasexStatement(self, node):
            return self._visit_around(node, [node.comp.lineno], super().visit_CasexStatement)

    return LineVisitor


def _reads_of(binds) -> frozenset[str]:
    """The names of the signals in the trees of a signal's binds, with the clocks and resets of their blocks."""
    names, pending = set(), []
    for bind in binds:
        pending += [bind.tree, bind.msb, bind.lsb, bind.ptr]
        if bind.alwaysinfo is not None:
            info = bind.alwaysinfo
            names.update(str(name) for name in (info.clock_name, info.reset_name) if name is not None)
    while pending:
        node = pending.pop()
        if node is None:
            continue
        if type(node).__name__ == "DFTerminal":
            names.add(str(node.name))
        pending.extend(node.children())
    return frozenset(names)


def _follow(start: str, reads: dict[str, frozenset[str]], lines: dict[str, set[int]]) -> frozenset[int]:
    seen, pending = {start}, [start]
    while pending:
        new = reads.get(pending.pop(), frozenset()) - seen
        seen |= new
        pending.extend(new)
    return frozenset(line for name in seen for line in lines.get(_RENAMED.sub("", name), ()))
