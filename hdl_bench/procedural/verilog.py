"""Small helpers that family files share to write Verilog text: one layout for every golden."""

from verifiers.types import Port


def inputs(**widths: int) -> tuple[Port, ...]:
    """Input ports by name and width, in order: `inputs(clk=1, d=8)`."""
    return tuple(Port(name=name, direction="input", width=width) for name, width in widths.items())


def outputs(**widths: int) -> tuple[Port, ...]:
    """Output ports by name and width, in order."""
    return tuple(Port(name=name, direction="output", width=width) for name, width in widths.items())


def module(ports: tuple[Port, ...], body: str, *, registers: tuple[str, ...] = ()) -> str:
    """TopModule with an ANSI header and `body` (indented by two) inside; `registers` are declared `output reg`."""
    declarations = []
    for port in ports:
        kind = port.direction + (" reg" if port.name in registers else "")
        width = f" [{port.width - 1}:0]" if port.width > 1 else ""
        declarations.append(f"  {kind}{width} {port.name}")
    indented = "\n".join("  " + line if line else line for line in body.strip("\n").split("\n"))
    return "module TopModule (\n" + ",\n".join(declarations) + "\n);\n" + indented + "\nendmodule\n"
