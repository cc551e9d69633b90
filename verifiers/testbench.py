"""Writes the testbench: a dumb player that applies rows from a file and prints the outputs of each.

It draws nothing and compares nothing. Every name in it carries a nonce that the candidate cannot know, and so does
every line that it prints.
"""

import secrets
from dataclasses import dataclass

from verifiers.stimulus import Stimulus
from verifiers.types import Port, Protocol

ROW_FILE = "rows.txt"
ROW_TIME = 10  # in the testbench's time unit, 1 ns


@dataclass(frozen=True, kw_only=True, slots=True)
class Testbench:
    """A testbench's text and what is needed to read its output."""

    text: str
    top: str  # the name of its root module
    nonce: str
    outputs: tuple[Port, ...]  # in the order of the printed fields

    __test__ = False  # for pytest: not a test class


def build_testbench(design_top: str, ports: tuple[Port, ...], protocol: Protocol) -> Testbench:
    """The testbench for top module `design_top`, with a fresh nonce. It plays the ROW_FILE of its folder."""
    nonce = secrets.token_hex(8)
    inputs = tuple(port for port in ports if port.direction == "input")
    outputs = tuple(port for port in ports if port.direction == "output")
    # A clock starts at its idle level, so that row 0 is no edge; all else starts unknown, so that row 0 is an event.
    idle = {clock.name for clock in protocol.clocks}
    names = {port.name: f"p{index}_{nonce}" for index, port in enumerate(ports)}
    width = max(sum(port.width for port in inputs), 1)
    row, file, index, status = (f"{stem}_{nonce}" for stem in ("row", "file", "index", "status"))
    apply = f"{{{', '.join(names[port.name] for port in inputs)}}} = {row};" if inputs else ""
    fields = "".join(f", {names[port.name]}" for port in outputs)
    text = "\n".join(
        (
            "`timescale 1ns/1ps",
            f"module tb_{nonce};",
            *(f"  reg {_range(p.width)} {names[p.name]}{' = 0' if p.name in idle else ''};" for p in inputs),
            *(f"  wire {_range(p.width)} {names[p.name]};" for p in outputs),
            f"  reg {_range(width)} {row};",
            f"  integer {file}, {index}, {status};",
            f"  {design_top} dut_{nonce} ({', '.join(f'.{name}({wire})' for name, wire in names.items())});",
            "  initial begin",
            f'    {file} = $fopen("{ROW_FILE}", "r");',
            f"    {index} = 0;",
            f"    #{ROW_TIME};",
            f'    {status} = $fscanf({file}, "%b", {row});',
            f"    while ({status} == 1) begin",
            f"      {apply}",
            f"      #{ROW_TIME};",
            f'      $display("{nonce} %0d{" %b" * len(outputs)}", {index}{fields});',
            f"      {index} = {index} + 1;",
            f'      {status} = $fscanf({file}, "%b", {row});',
            "    end",
            f'    $display("{nonce} end %0d", {index});',
            "    $finish(0);",
            "  end",
            "endmodule",
            "",
        )
    )
    return Testbench(text=text, top=f"tb_{nonce}", nonce=nonce, outputs=outputs)


def row_file_text(stimulus: Stimulus) -> str:
    """The text of ROW_FILE for a stimulus: one row a line."""
    return "".join(stimulus.row_text(row) + "\n" for row in range(len(stimulus.rows)))


def _range(width: int) -> str:
    return f"[{width - 1}:0]"
