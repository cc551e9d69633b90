"""Plays generated rows on designs that Verilator built. Says how it went, not whose fault it is.

A run sees its own program and rows only.
"""

import secrets
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from toolchain.command import Command
from toolchain.diagnostics import Diagnostic
from toolchain.icarus import Ending, ending_of
from verifiers.build_cache import BuildCache
from verifiers.simulate import DESIGN_FILE, SIMULATE_LIMITS, Failure, describe_ending
from verifiers.stimulus import Stimulus
from verifiers.testbench import Testbench
from verifiers.trace import BrokenTrace, Trace, parse_traces
from verifiers.types import Port, Stage
from verifiers.verilator_build import PROGRAM, ProgramSource, VerilatorBuilder
from verifiers.verilator_checker import without_comments
from verifiers.verilator_rows import ROWS_MAIN, rows_program, wrapper_module

_ROWS_FILE, _WRAPPER_FILE = "rows.txt", "wrapper.v"


class VerilatorSimulator:
    """Rows on Verilator. Raises as `VerilatorBuilder` does."""

    def __init__(self, *, isolation: str = "auto", cache: BuildCache, scratch: Path | None = None) -> None:
        self._builder = VerilatorBuilder(isolation=isolation, cache=cache, scratch=scratch)
        self._scratch = scratch
        self.executor = self._builder.executor
        self.versions = self._builder.versions
        self.verilator, self.root = self._builder.verilator, self._builder.root

    def program(self, text: str, top: str, ports: tuple[Port, ...], clocks: Collection[str] = ()) -> Path | Failure:
        """A program that plays rows on a design, built now or before. `clocks` names inputs that start at 0."""
        name, wrapper = wrapper_module(text, top, ports)
        files = {DESIGN_FILE: without_comments(text), _WRAPPER_FILE: wrapper, ROWS_MAIN: rows_program(ports, clocks)}
        source = ProgramSource(files=files, verilog=(_WRAPPER_FILE, DESIGN_FILE), top=name, main=ROWS_MAIN)
        return self._builder.program(source)

    def play(
        self, program: Path, ports: tuple[Port, ...], stimulus: Stimulus, *, start_args: tuple[str, ...]
    ) -> Trace | Failure:
        """Play a stimulus on a program; `start_args` say how registers start."""
        nonce = secrets.token_hex(8)
        with tempfile.TemporaryDirectory(prefix="earl-job-", dir=self._scratch) as name:
            folder = Path(name)
            shutil.copy(program, folder / PROGRAM)
            folder.joinpath(_ROWS_FILE).write_text(stimulus.row_file)
            argv = (f"./{PROGRAM}", _ROWS_FILE, nonce, *start_args)
            result = self.executor.run(Command(argv=argv, cwd=folder, limits=SIMULATE_LIMITS))
        ending = ending_of(result)
        if ending is not Ending.CLEAN:
            return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(describe_ending(ending, result),))
        outputs = tuple(port for port in ports if port.direction == "output")
        testbench = Testbench(text="", top="", nonces=(nonce,), outputs=outputs)
        traces = parse_traces(result.stdout, testbench, (stimulus.num_rows,))
        if isinstance(traces, BrokenTrace):
            diagnostic = Diagnostic(message=f"the simulation did not run to its end: {traces.reason}", code="trace")
            return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(diagnostic,))
        [[trace]] = traces
        return trace
