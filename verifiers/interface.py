"""The ports of a design: read them from a text, and check a candidate's against what the problem asks for.

Ports are matched by name, so their order does not matter; neither does signedness, which no connection can see.
"""

from pyslang import ast

from toolchain.diagnostics import Diagnostic
from toolchain.errors import UsageError
from verifiers.elaborate import Source, elaborate, parse
from verifiers.types import Port

_DIRECTIONS = {
    ast.ArgumentDirection.In: "input",
    ast.ArgumentDirection.Out: "output",
    ast.ArgumentDirection.InOut: "inout",
    ast.ArgumentDirection.Ref: "ref",
}


def ports_of(text: str, top_module: str) -> tuple[Port, ...]:
    """The ports of `top_module` in the order of its header. `UsageError` when it is not there or does not elaborate."""
    source = parse(text)
    top = find_top(elaborate(source, top_module), top_module)
    faults = [finding for finding in source.tree.diagnostics if finding.isError()]
    if faults or top is None:
        why = source.to_diagnostics(faults)[0].message if faults else "the text has no such module"
        raise UsageError(f"cannot read the ports of '{top_module}': {why}; give Verilog that defines it")
    odd = next((symbol for symbol in _named_ports(top) if not _is_plain(symbol)), None)
    if odd is not None:
        raise UsageError(f"port '{odd.name}' of '{top_module}' is not a plain vector; use packed vectors as ports")
    return tuple(_to_port(symbol) for symbol in _named_ports(top))


def find_top(compilation: ast.Compilation, top_module: str) -> ast.InstanceSymbol | None:
    """The top instance of that name, or None."""
    return next((top for top in compilation.getRoot().topInstances if top.name == top_module), None)


def check_interface(source: Source, top: ast.InstanceSymbol, ports: tuple[Port, ...]) -> tuple[Diagnostic, ...]:
    """What in the ports of `top` differs from `ports`, by port: what is expected and what is got."""
    findings = []
    found = {symbol.name: symbol for symbol in _named_ports(top)}

    def report(message: str, symbol: ast.Symbol) -> None:
        line = source.line_of(symbol.location)
        findings.append(Diagnostic(message=message, code="interface", line=line))

    for port in ports:
        symbol = found.pop(port.name, None)
        if symbol is None:
            report(f"port '{port.name}' is missing: expected {_describe(port)}; add it to the header", top)
        elif not _is_plain(symbol):
            report(f"port '{port.name}' is not a plain vector: expected {_describe(port)}", symbol)
        elif (got := _to_port(symbol)) != port:
            report(f"port '{port.name}' differs: expected {_describe(port)}, got {_describe(got)}", symbol)
    for name, symbol in found.items():
        report(f"port '{name}' is not asked for: got an extra port; remove it", symbol)
    return tuple(findings)


def missing_top(source: Source, top_module: str, names: list[str]) -> Diagnostic:
    """The finding that the top module is not there, with the modules (`names`) that are."""
    there = ", ".join(names) if names else "no module"
    message = f"the module '{top_module}' is missing: got {there}; name the top module '{top_module}'"
    return Diagnostic(message=message, code="interface", line=1)


def _named_ports(top: ast.InstanceSymbol) -> list[ast.Symbol]:
    """The ports in order, without the empty one that a trailing comma makes."""
    return [symbol for symbol in top.body.portList if symbol.name]


def _is_plain(symbol: ast.Symbol) -> bool:
    return isinstance(symbol, ast.PortSymbol) and symbol.type.isIntegral


def _to_port(symbol: ast.PortSymbol) -> Port:
    return Port(name=symbol.name, direction=_DIRECTIONS[symbol.direction], width=symbol.type.bitWidth)


def _describe(port: Port) -> str:
    return f"{port.direction} of {port.width} bit{'s' if port.width != 1 else ''}"
