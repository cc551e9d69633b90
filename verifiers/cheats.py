"""Candidates that must not pass whatever the problem: constants, nothing at all, and the oldest tricks.

A constant is right only where the golden is that constant; everything else here is never right.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verifiers.types import Port

EMPTY_MODULE = "the empty module"
_PASS_LINES = ("Mismatches: 0 in 1000 samples", "===========Your Design Passed===========", "Test passed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cheat:
    """A candidate that computes nothing. `is_constant`: it may be right, if the golden is a constant too.
    `is_forgery`: it does not hope that nobody looks, but deceives the harness."""

    name: str
    text: str
    is_constant: bool = False
    is_forgery: bool = False


def cheats_of(
    top_module: str, ports: tuple[Port, ...], golden_top: str, values: Mapping[str, Sequence[str]]
) -> tuple[Cheat, ...]:
    """The cheats for a problem. `values` are the golden's own by output, for the constant that fits them best."""
    zeros, ones, best = ({p.name: fill(p, values) for p in ports} for fill in (_zeros, _ones, _most_frequent))
    printing = "".join(f'    $display("{line}");\n' for line in _PASS_LINES)
    outputs = {port.name for port in ports if port.direction == "output"}
    connections = ", ".join(f".{port.name}({port.name})" for port in ports)
    peek = "".join(f"  assign {name} = {golden_top}.{name};\n" for name in sorted(outputs))
    return (
        Cheat(name="the constant 0", text=constant_module(top_module, ports, zeros), is_constant=True),
        Cheat(name="the constant 1", text=constant_module(top_module, ports, ones), is_constant=True),
        Cheat(name="the best constant", text=constant_module(top_module, ports, best), is_constant=True),
        empty_module(top_module, ports),
        Cheat(
            name="a module of unknowns",
            text=constant_module(top_module, ports, {port.name: "x" * port.width for port in ports}),
        ),
        Cheat(
            name="a module that prints pass lines and finishes",
            text=_module(top_module, ports, f"  initial begin\n{printing}    $finish;\n  end\n"),
            is_forgery=True,
        ),
        Cheat(
            name="a module that prints pass lines at the end",
            text=_module(top_module, ports, f"  final begin\n{printing}  end\n"),
            is_forgery=True,
        ),
        Cheat(
            name="a module that instantiates the golden",
            text=_module(top_module, ports, f"  {golden_top} golden ({connections});\n"),
            is_forgery=True,
        ),
        Cheat(
            name="a module that reads the golden's outputs",
            text=_module(top_module, ports, peek),
            is_forgery=True,
        ),
    )


def empty_module(top_module: str, ports: tuple[Port, ...]) -> Cheat:
    """A module with these ports that drives nothing."""
    return Cheat(name=EMPTY_MODULE, text=_module(top_module, ports, ""))


def constant_module(top_module: str, ports: tuple[Port, ...], values: Mapping[str, str]) -> str:
    """A module with these ports and every output tied to its value in `values`, in binary digits."""
    tied = "".join(
        f"  assign {port.name} = {port.width}'b{values[port.name]};\n" for port in ports if port.direction == "output"
    )
    return _module(top_module, ports, tied)


def _module(top_module: str, ports: tuple[Port, ...], body: str) -> str:
    header = ", ".join(f"{port.direction} [{port.width - 1}:0] {port.name}" for port in ports)
    return f"module {top_module} ({header});\n{body}endmodule\n"


def _zeros(port: Port, values: Mapping[str, Sequence[str]]) -> str:
    return "0" * port.width


def _ones(port: Port, values: Mapping[str, Sequence[str]]) -> str:
    return "1" * port.width


def _most_frequent(port: Port, values: Mapping[str, Sequence[str]]) -> str:
    """The golden's most frequent fully known value; zeros where there is none."""
    known = Counter(value for value in values.get(port.name, ()) if set(value) <= {"0", "1"})
    return max(known, key=lambda value: (known[value], value)) if known else "0" * port.width
