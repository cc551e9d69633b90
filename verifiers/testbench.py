"""Writes the testbench: a dumb player that applies rows from a file and prints the outputs after each.

It draws nothing and compares nothing. A row in which no output changes is not printed; the last line counts rows and
lines. Every name in it carries a nonce that the candidate cannot know, and so does every line that it prints. One
testbench may play several row files (one a seed) on several designs of the same ports: each design has an instance and
inputs of its own for each file, so that none can feel another.
"""

import secrets
from dataclasses import dataclass

from verifiers.types import Port, Protocol

ROW_TIME = 10  # in the testbench's time unit, 1 ns
TIMESCALE = "`timescale 1ns/1ps"


@dataclass(frozen=True, kw_only=True, slots=True)
class Testbench:
    """A testbench's text and what is needed to read its output."""

    text: str
    top: str  # the name of its root module
    nonces: tuple[str, ...]  # one a row file: its lines begin with it
    outputs: tuple[Port, ...]  # of a design, in the order of the printed fields
    num_designs: int = 1  # a line has the outputs of each, design after design

    __test__ = False  # for pytest: not a test class


def build_testbench(
    design_tops: tuple[str, ...], ports: tuple[Port, ...], protocol: Protocol, *, num_row_files: int = 1
) -> Testbench:
    """The testbench for top modules `design_tops`, with fresh nonces. It plays the row files of its folder."""
    nonce = secrets.token_hex(8)
    nonces = tuple(secrets.token_hex(8) for _ in range(num_row_files))
    num_ended = f"num_ended_{nonce}"
    last = f"{num_ended} = {num_ended} + 1; if ({num_ended} == {num_row_files}) $finish(0);"
    lines = [TIMESCALE, f"module tb_{nonce};", f"  integer {num_ended} = 0;"]
    for index in range(num_row_files):
        lines += _player(row_file_name(index), nonces[index], last, design_tops, ports, protocol)
    outputs = tuple(port for port in ports if port.direction == "output")
    text = "\n".join((*lines, "endmodule", ""))
    return Testbench(text=text, top=f"tb_{nonce}", nonces=nonces, outputs=outputs, num_designs=len(design_tops))


def _player(
    row_file: str, nonce: str, last: str, design_tops: tuple[str, ...], ports: tuple[Port, ...], protocol: Protocol
) -> list[str]:
    """The lines that play one row file on an instance of each design, and then do `last`."""
    inputs = tuple(port for port in ports if port.direction == "input")
    outputs = tuple(port for port in ports if port.direction == "output")
    # A clock starts at its idle level, so that row 0 is no edge; all else starts unknown, so that row 0 is an event.
    idle = {clock.name for clock in protocol.clocks}
    width = max(sum(port.width for port in inputs), 1)
    stems = ("row", "file", "index", "status", "printed", "now", "last")
    row, file, index, status, printed, now, last_now = (f"{stem}_{nonce}" for stem in stems)
    lines = [f"  reg {_range(width)} {row};", f"  integer {file}, {index}, {status}, {printed};"]
    apply, fields = [], []
    for number, top in enumerate(design_tops):
        names = {port.name: f"d{number}_p{place}_{nonce}" for place, port in enumerate(ports)}
        lines += [f"  reg {_range(p.width)} {names[p.name]}{' = 0' if p.name in idle else ''};" for p in inputs]
        lines += [f"  wire {_range(p.width)} {names[p.name]};" for p in outputs]
        lines.append(f"  {top} d{number}_{nonce} ({', '.join(f'.{name}({wire})' for name, wire in names.items())});")
        fields += [names[port.name] for port in outputs]
        if inputs:
            apply.append(f"      {{{', '.join(names[port.name] for port in inputs)}}} = {row};")
    is_new = f"{printed} == 0"
    if fields:
        total = len(design_tops) * sum(port.width for port in outputs)
        lines.append(f"  reg {_range(total)} {now}, {last_now};")
        is_new = f"{printed} == 0 || {now} !== {last_now}"
    sample = [f"      {now} = {{{', '.join(fields)}}};"] if fields else []
    keep = [f"        {last_now} = {now};"] if fields else []
    shown = ", ".join((f'"{nonce} %0d{" %b" * len(fields)}"', index, *fields))
    return [
        *lines,
        "  initial begin",
        f'    {file} = $fopen("{row_file}", "r");',
        f"    {index} = 0;",
        f"    {printed} = 0;",
        f"    #{ROW_TIME};",
        f'    {status} = $fscanf({file}, "%h", {row});',
        f"    while ({status} == 1) begin",
        *apply,
        f"      #{ROW_TIME};",
        *sample,
        f"      if ({is_new}) begin",
        *keep,
        f"        {printed} = {printed} + 1;",
        f"        $display({shown});",
        "      end",
        f"      {index} = {index} + 1;",
        f'      {status} = $fscanf({file}, "%h", {row});',
        "    end",
        f'    $display("{nonce} end %0d %0d", {index}, {printed});',
        f"    {last}",
        "  end",
    ]


def row_file_name(index: int) -> str:
    """The name of row file `index` in the folder of the simulation."""
    return f"rows{index}.txt"


def _range(width: int) -> str:
    return f"[{width - 1}:0]"
