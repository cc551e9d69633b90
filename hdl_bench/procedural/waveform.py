"""Circuits that the prompt shows as sampled signals, which the reader must explain: lookups, and a small register.

Each table shows every combination of inputs (and of state, for the clocked ones), so exactly one behaviour fits it.
"""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, literal, module, outputs
from verifiers.types import Clock, Protocol, Reset

_NAMES = ("a", "b", "c", "d")


def draw(rng: random.Random, level: int) -> Design:
    if level <= 2:
        return _draw_function(rng, 3 if level == 1 else 4)
    return _draw_lookup(rng) if level == 3 else _draw_register(rng, 2 if level == 4 else 3)


def _draw_function(rng: random.Random, num_inputs: int) -> Design:
    """A one-bit function of one-bit inputs; the samples come in a random order, some twice."""
    num_rows = 1 << num_inputs
    table = rng.randrange(1, (1 << num_rows) - 1)
    names = _NAMES[:num_inputs]
    order = [*range(num_rows), *(rng.randrange(num_rows) for _ in range(4))]
    rng.shuffle(order)
    samples = [[*f"{row:0{num_inputs}b}", str(table >> row & 1)] for row in order]
    ones = [literal(num_inputs, row) for row in range(num_rows) if table >> row & 1]
    ports = inputs(**dict.fromkeys(names, 1)) + outputs(q=1)
    body = [
        "always @(*) begin",
        f"  case ({{{', '.join(names)}}})",
        f"    {', '.join(ones)}: q = 1'b1;",
        "    default: q = 1'b0;",
        "  endcase",
        "end",
    ]
    return Design(
        params={"num_inputs": num_inputs, "table": table},
        ports=ports,
        descriptions=_combinational_descriptions((*names, "q"), samples, "binary"),
        golden=module(ports, "\n".join(body), registers=("q",)),
        protocol=Protocol(),
    )


def _draw_lookup(rng: random.Random) -> Design:
    """A vector lookup with one entry for each input value."""
    num_bits, width = rng.choice((2, 3)), rng.choice((4, 6, 8, 12, 16))
    entries = [rng.randrange(1 << width) for _ in range(1 << num_bits)]
    order = rng.sample(range(1 << num_bits), 1 << num_bits)
    samples = [[f"{row:x}", f"{entries[row]:0{(width + 3) // 4}x}"] for row in order]
    ports = inputs(a=num_bits) + outputs(q=width)
    body = ["always @(*) begin", "  case (a)"]
    body += [
        f"    {literal(num_bits, row)}: q = {literal(width, entry, 'h')};" for row, entry in enumerate(entries[:-1])
    ]
    body += [f"    default: q = {literal(width, entries[-1], 'h')};", "  endcase", "end"]
    return Design(
        params={"num_bits": num_bits, "width": width, "entries": ",".join(f"{entry:x}" for entry in entries)},
        ports=ports,
        descriptions=_combinational_descriptions(("a", "q"), samples, "hexadecimal"),
        golden=module(ports, "\n".join(body), registers=("q",)),
        protocol=Protocol(),
    )


def _combinational_descriptions(header: tuple[str, ...], samples: list[list[str]], base: str) -> tuple[str, ...]:
    table = _render(("time", *header), [[f"{5 * index}ns", *sample] for index, sample in enumerate(samples)])
    compact = "; ".join(
        f"{', '.join(f'{name}={value}' for name, value in zip(header[:-1], sample[:-1], strict=True))} gives "
        f"{header[-1]}={sample[-1]}"
        for sample in samples
    )
    return (
        "This is a combinational circuit. Read the simulation waveforms (values are "
        f"{base}) to determine what the circuit does, then implement it.\n\n{table}",
        f"Someone probed a circuit that has no memory and noted, with all values in {base}: {compact}. Every input "
        "combination occurs. Build a module with the same behaviour.",
        f"Recover the function from its trace (values in {base}; the output depends only on the inputs of the same "
        f"row, and each input combination is shown).\n\n{table}",
    )


def _draw_register(rng: random.Random, num_inputs: int) -> Design:
    """One bit of state whose next value is a random function of the inputs and the state."""
    num_rows = 1 << (num_inputs + 1)
    table, initial = _draw_state_table(rng, num_rows), rng.randrange(2)
    names = _NAMES[:num_inputs]
    ports = inputs(clk=1, reset=1, **dict.fromkeys(names, 1)) + outputs(q=1)
    ones = [literal(num_inputs + 1, row) for row in range(num_rows) if table >> row & 1]
    body = [
        "always @(posedge clk) begin",
        "  if (reset)",
        f"    q <= 1'b{initial};",
        "  else",
        f"    case ({{{', '.join(names)}, q}})",
        f"      {', '.join(ones)}: q <= 1'b1;",
        "      default: q <= 1'b0;",
        "    endcase",
        "end",
    ]
    samples = _walk(rng, table, initial, num_inputs)
    return Design(
        params={"num_inputs": num_inputs, "table": table, "initial": initial},
        ports=ports,
        descriptions=_clocked_descriptions(names, samples, initial),
        golden=module(ports, "\n".join(body), registers=("q",)),
        protocol=Protocol(clocks=(Clock(name="clk"),), resets=(Reset(name="reset"),), rare_high=("reset",)),
    )


def _draw_state_table(rng: random.Random, num_rows: int) -> int:
    """A next-state table (bit i for row {inputs, state}) in which the state matters and both states can be reached."""
    while True:
        table = rng.randrange(1, (1 << num_rows) - 1)
        from_0 = [table >> row & 1 for row in range(0, num_rows, 2)]
        from_1 = [table >> row & 1 for row in range(1, num_rows, 2)]
        if from_0 != from_1 and 1 in from_0 and 0 in from_1:
            return table


def _walk(rng: random.Random, table: int, initial: int, num_inputs: int) -> list[list[str]]:
    """Samples [reset, inputs, state before the edge] that use every row of the table; the first is the reset."""
    num_rows = 1 << (num_inputs + 1)
    unseen, state = set(range(num_rows)), initial
    samples = [["1", *"0" * num_inputs, "x"]]
    while unseen:
        wanted = sorted(row for row in unseen if row & 1 == state)
        row = rng.choice(wanted) if wanted else rng.randrange(num_rows) & ~1 | state
        unseen.discard(row)
        samples.append(["0", *f"{row >> 1:0{num_inputs}b}", str(state)])
        state = table >> row & 1
    return [*samples, ["0", *"0" * num_inputs, str(state)]]


def _clocked_descriptions(names: tuple[str, ...], samples: list[list[str]], initial: int) -> tuple[str, ...]:
    table = _render(("edge", "reset", *names, "q"), [[str(index), *sample] for index, sample in enumerate(samples)])
    reset = f"a synchronous, active-high reset that sets q to {initial}"
    return (
        "This is a sequential circuit with one flip-flop, q, clocked by the rising edge of clk, with "
        f"{reset}. Each row gives the inputs and q as they are just before one rising edge; the next row's q is the "
        f"result of that edge. Read the table to determine what the circuit does, then implement it.\n\n{table}",
        f"Reverse-engineer a register q. At each rising edge of clk its new value depends only on {listing(names)} and "
        f"on its old value, except that reset (active high, synchronous) makes it {initial}. The trace lists, edge by "
        f"edge, what was sampled right before the edge, so q's new value is found one row below. All combinations "
        f"occur.\n\n{table}",
        f"One-bit state machine, output q equal to the state, positive edge of clk, {reset} whatever the other inputs "
        "are. Its next state is a fixed function of state and inputs, to be read off these samples, each taken "
        f"immediately before a rising edge (x: unknown before the reset).\n\n{table}",
    )


def _render(header: tuple[str, ...], rows: list[list[str]]) -> str:
    """A text table with right-aligned columns."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]
    )


FAMILY = Family(
    name="waveform",
    summary="circuits shown as sampled waveforms",
    draw=draw,
    num_distinct=254 + 65_534 + 16**4 + 200 + 40_000,  # levels 1, 2, the narrowest of 3, and 4 and 5 from below
)
