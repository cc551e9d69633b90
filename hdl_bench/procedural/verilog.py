"""Small helpers that family files share to write Verilog text: one layout for every golden."""

from collections.abc import Sequence

from verifiers.types import Port


def inputs(**widths: int) -> tuple[Port, ...]:
    """Input ports by name and width, in order: `inputs(clk=1, d=8)`."""
    return tuple(Port(name=name, direction="input", width=width) for name, width in widths.items())


def outputs(**widths: int) -> tuple[Port, ...]:
    """Output ports by name and width, in order."""
    return tuple(Port(name=name, direction="output", width=width) for name, width in widths.items())


def module(ports: tuple[Port, ...], body: str, *, registers: tuple[str, ...] = (), name: str = "TopModule") -> str:
    """A module with an ANSI header and `body` (indented by two) inside; `registers` are declared `output reg`."""
    declarations = []
    for port in ports:
        kind = port.direction + (" reg" if port.name in registers else "")
        width = f" [{port.width - 1}:0]" if port.width > 1 else ""
        declarations.append(f"  {kind}{width} {port.name}")
    indented = "\n".join("  " + line if line else line for line in body.strip("\n").split("\n"))
    return f"module {name} (\n" + ",\n".join(declarations) + "\n);\n" + indented + "\nendmodule\n"


def literal(width: int, value: int, base: str = "d") -> str:
    """A sized Verilog constant of `value` modulo 2**width in base "d", "h" or "b": `literal(8, 255)` is `8'd255`."""
    value %= 1 << width
    digits = {"d": str(value), "h": f"{value:0{(width + 3) // 4}x}", "b": f"{value:0{width}b}"}
    return f"{width}'{base}{digits[base]}"


def listing(items: Sequence[str], last: str = "and") -> str:
    """Items in words: "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"
