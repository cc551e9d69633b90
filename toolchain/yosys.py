"""Yosys as a library: finds pyosys and its ABC, and turns SystemVerilog into flat netlists.

libyosys ends the whole process on any error, so everything here but `find_pyosys` belongs in a process that may be
lost. Nothing is said about what a netlist means.
"""

import functools
import importlib.util
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from toolchain.errors import ToolNotFound

# What pyslang is told too (see verifiers.elaborate), and no reading of its own: comments and SYNTHESIS hide nothing.
_READ_OPTIONS = (
    "--std 1800-2017 --no-synthesis-define --no-default-translate-off-format --allow-use-before-declare "
    "--relax-enum-conversions --relax-string-conversions --allow-hierarchical-const --allow-merging-ansi-ports "
    "--allow-bare-value-param-assigment --allow-genblk-reference --allow-dup-initial-drivers --max-hierarchy-depth 64 "
    "--unroll-limit 4096 --no-proc"
)
# No optimization: what Yosys may do with an x is not what a simulator does.
_LOWERING = (
    "setattr -mod -unset top",
    "proc -noopt -norom -ifx",
    "memory_collect",
    "memory_map -keepdc",
    "opt_clean",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pyosys:
    """An installed pyosys."""

    version: str
    folder: Path  # of the package
    abc: Path  # the program that comes with it


@functools.cache
def find_pyosys() -> Pyosys:
    """The installed pyosys, without loading it. Raises ToolNotFound."""
    spec = importlib.util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise ToolNotFound(
            "pyosys was not found in this Python environment, and formal equivalence needs it. "
            "Install it (pip install 'earl-rtl[formal]', or pip install 'pyosys>=0.70,<0.71'), or leave --formal out."
        )
    folder = Path(spec.origin).resolve().parent
    abc = folder / "yosys-abc"
    if not abc.is_file():
        raise ToolNotFound(
            f"pyosys at {folder} comes without yosys-abc. Reinstall it (pip install --force-reinstall pyosys)."
        )
    return Pyosys(version=version("pyosys"), folder=folder, abc=abc)


def load_yosys() -> None:
    """Load libyosys into this process and warm its front end, so that forks of it start ready."""
    find_pyosys()
    from pyosys import libyosys

    libyosys.Design()


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceModule:
    """A file in the working folder, its top module, and the name that the netlist gets."""

    file: str
    top: str
    name: str


def read_netlists(sources: Iterable[SourceModule], *, output: str) -> dict[str, dict]:
    """Flat netlists by name, as `write_json` describes modules, by way of the file `output`.

    Ends the process when Yosys refuses a source: the reason is on its standard output.
    """
    from pyosys import libyosys

    design = libyosys.Design()
    names = []
    for source in sources:
        libyosys.run_pass(f"read_slang {_READ_OPTIONS} --top {source.top} {source.file}", design)
        libyosys.run_pass(f"rename {source.top} {source.name}", design)
        names.append(source.name)
    for step in (*_LOWERING, f"write_json {output}"):
        libyosys.run_pass(step, design)
    modules = json.loads(Path(output).read_text())["modules"]
    return {name: modules[name] for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Gates:
    """A design in Yosys' generic gates."""

    cells: dict[str, int]  # by type
    num_wires: int
    num_wire_bits: int
    depth: int  # gates on the longest path between registers and ports


def synthesize(file: str, top: str) -> Gates:
    """Synthesize a file of the working folder into generic gates. Ends the process when Yosys refuses it."""
    from pyosys import libyosys

    design = libyosys.Design()
    for step in (
        f"read_slang {_READ_OPTIONS} --top {top} {file}",
        f"synth -flatten -top {top}",
        "tee -q -o stat.json stat -json",
        "tee -q -o depth.txt ltp -noff",
    ):
        libyosys.run_pass(step, design)
    figures = json.loads(Path("stat.json").read_text())["design"]
    depth = re.search(r"\(length=(\d+)\)", Path("depth.txt").read_text())
    return Gates(
        cells=figures["num_cells_by_type"],
        num_wires=figures["num_wires"],
        num_wire_bits=figures["num_wire_bits"],
        depth=int(depth.group(1)) if depth else 0,
    )
