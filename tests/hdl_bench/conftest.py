"""Runs goldens in Icarus for the tests of procedural families."""

import itertools
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hdl_bench.procedural.families import FAMILIES
from hdl_bench.procedural.family import Design
from hdl_bench.procedural.verilog import literal

Row = dict[str, int]
Model = Callable[[dict, Row], Row]  # parameters and inputs -> the outputs that it vouches for


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Design, list[Row]], list[Row]]:
    """The outputs of a combinational golden under each row of inputs."""
    return lambda design, rows: _play(tmp_path, design, rows)


@pytest.fixture
def check_model(tmp_path: Path) -> Callable[[str, int, Row, Model], None]:
    """Compares three goldens of a family and level, with the parameters wanted, to a model of the parameters."""

    def check(name: str, level: int, wanted: dict[str, int | str], model: Model) -> None:
        draws = (FAMILIES[name].draw(random.Random(seed), level) for seed in itertools.count(100))
        for design in itertools.islice((d for d in draws if wanted.items() <= d.params.items()), 3):
            rows = _random_rows(design, random.Random(1))
            for row, got in zip(rows, _play(tmp_path, design, rows), strict=True):
                expected = model(design.params, row)
                assert {key: got[key] for key in expected} == expected, (design.params, row)

    return check


@pytest.fixture
def find() -> Callable[..., Design]:
    """The first draw of a family and level with the parameters wanted."""
    return _find


def _play(folder: Path, design: Design, rows: list[Row]) -> list[Row]:
    """The outputs of the golden under each row of inputs."""
    inputs = [port for port in design.ports if port.direction == "input"]
    outputs = [port for port in design.ports if port.direction == "output"]
    lines = ["module tb;"]
    lines += [f"reg [{port.width - 1}:0] {port.name};" for port in inputs]
    lines += [f"wire [{port.width - 1}:0] {port.name};" for port in outputs]
    names = [port.name for port in design.ports]
    lines += [f"TopModule dut ({', '.join(f'.{name}({name})' for name in names)});", "initial begin"]
    for row in rows:
        lines += [f"{port.name} = {literal(port.width, row[port.name], 'h')};" for port in inputs]
        lines.append(f'#1 $display("{" ".join("%b" for _ in outputs)}", {", ".join(port.name for port in outputs)});')
    source, program = folder / "tb.v", folder / "tb.vvp"
    source.write_text("\n".join([*lines, "end", "endmodule", design.golden]))
    subprocess.run(["iverilog", "-g2012", "-o", str(program), str(source)], check=True, timeout=20)
    result = subprocess.run(["vvp", "-n", str(program)], check=True, timeout=20, capture_output=True, text=True)
    values = [line.split() for line in result.stdout.splitlines()]
    assert len(values) == len(rows)
    return [{port.name: int(bits, 2) for port, bits in zip(outputs, line, strict=True)} for line in values]


def _random_rows(design: Design, rng: random.Random, num_rows: int = 60) -> list[Row]:
    """Random inputs, with zeros and ones in all bits among them."""
    inputs = [port for port in design.ports if port.direction == "input"]
    return [
        {p.name: rng.choice((0, (1 << p.width) - 1, *(rng.randrange(1 << p.width) for _ in range(6)))) for p in inputs}
        for _ in range(num_rows)
    ]


def _find(name: str, level: int, wanted: dict[str, int | str]) -> Design:
    """The first draw with these parameters."""
    for seed in range(30_000):
        design = FAMILIES[name].draw(random.Random(seed), level)
        if wanted.items() <= design.params.items():
            return design
    raise AssertionError(f"no draw of {name}, level {level}, with {wanted}")
