"""The cone of an output: the source lines of every statement that its value can depend on.

Every path counts, not only the one that a stimulus took: a line outside the cone cannot be why the output is wrong,
one inside may be. `verifiers.cone_walk` says what a path is; `verifiers.cone_pyverilog` draws cones by other means.
"""

from collections.abc import Sequence

from pyslang import ast

from toolchain.errors import UsageError
from verifiers.cone_walk import ConeTooLarge, Graph, walk_design
from verifiers.elaborate import elaborate, module_names, parse
from verifiers.interface import find_top
from verifiers.types import OutputScore


def cone_of(text: str, top_module: str, outputs: Sequence[str]) -> dict[str, frozenset[int]]:
    """The lines (1-based, of `text`) that drive each of `outputs`; an undriven signal gives its declaration's line.

    Raises UsageError for a text without that module or output, ConeTooLarge for one with too many drivers.
    Native code reads the text: call this where it may be killed.
    """
    source = parse(text)
    compilation = elaborate(source, top_module if len(module_names(source)) > 1 else None)
    top = find_top(compilation, top_module)
    if top is None:
        raise UsageError(f"the text has no module '{top_module}' to draw cones in; give Verilog that defines it")
    paths = _port_paths(top)
    missing = [name for name in outputs if name not in paths]
    if missing:
        raise UsageError(f"'{top_module}' has no plain port {missing[0]!r}; its ports are {', '.join(paths)}")
    graph = Graph(source=source)
    walk_design(top, graph)
    given = set(_port_paths(top, ast.ArgumentDirection.In).values())
    return {name: _follow(graph, paths[name], given) for name in outputs}


def suspect_lines(text: str, top_module: str, scores: Sequence[OutputScore]) -> tuple[int, ...]:
    """The lines of `text` that feed an output with a mismatch, ascending; none when too large for cones."""
    wrong = [score.name for score in scores if score.num_mismatches]
    if not wrong:
        return ()
    try:
        cones = cone_of(text, top_module, wrong)
    except ConeTooLarge:
        return ()
    return tuple(sorted(frozenset().union(*cones.values())))


def _port_paths(top: ast.InstanceSymbol, direction: ast.ArgumentDirection | None = None) -> dict[str, str]:
    """Name -> path of the signal behind it, for the plain ports (of a direction, if given)."""
    return {
        port.name: port.internalSymbol.hierarchicalPath
        for port in top.body.portList
        if isinstance(port, ast.PortSymbol) and port.internalSymbol is not None
        if direction in (None, port.direction)
    }


def _follow(graph: Graph, start: str, given: set[str]) -> frozenset[int]:
    """The lines of all drivers that can be reached from a signal. `given` are driven from outside."""
    lines: set[int] = set()
    seen, pending = {start}, [start]
    while pending:
        path = pending.pop()
        drivers = graph.drivers.get(path, ())
        if not drivers and path not in given and path in graph.declared:
            lines.add(graph.declared[path])
        for driver in drivers:
            lines |= driver.lines
            pending.extend(driver.reads - seen)
            seen |= driver.reads
    return frozenset(lines)
