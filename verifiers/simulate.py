"""Compiles a design with its testbench and plays stimulus on it: source in, trace or failure out.

Says how a run ended, not whose fault it is: that is `verifiers.verify`'s. A simulation has a fresh folder of its own,
which is the only thing that its processes can write.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from toolchain.command import Command, CommandResult, Limits
from toolchain.diagnostics import Diagnostic
from toolchain.errors import InfrastructureError
from toolchain.executor import Executor, LocalExecutor
from toolchain.icarus import Ending, compile_argv, ending_of, parse_compile_log, simulate_argv
from toolchain.tool import find_tool
from verifiers.testbench import ROW_FILE, Testbench, build_testbench
from verifiers.trace import BrokenTrace, Trace, parse_trace
from verifiers.types import Port, Protocol, Stage

COMPILE_LIMITS = Limits(cpu_s=6, wall_s=30.0, memory_bytes=1 << 30, output_bytes=1 << 20)
# CPU time is the limit that counts: it is the same on a busy machine. The wall is for a run that sleeps.
SIMULATE_LIMITS = Limits(cpu_s=3, wall_s=30.0, memory_bytes=1 << 30, output_bytes=32 << 20)

DESIGN_FILE = "design.v"  # of a job's folder
_TESTBENCH_FILE, _IMAGE_FILE = "testbench.v", "design.vvp"
_STDERR_SHOWN = 300
_ODD_ENDINGS = {
    (Stage.COMPILE, Ending.CRASH),
    (Stage.SIMULATE, Ending.CRASH),
    (Stage.SIMULATE, Ending.REFUSED),
    (Stage.SIMULATE, Ending.CLEAN),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A run that gave no trace. `ending` CLEAN is a run that ended well and yet printed no complete trace."""

    stage: Stage  # COMPILE or SIMULATE
    ending: Ending
    diagnostics: tuple[Diagnostic, ...]

    @property
    def is_odd(self) -> bool:
        """Whether the machine may be at fault as well as the design: such a run is tried again."""
        return (self.stage, self.ending) in _ODD_ENDINGS


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledDesign:
    """A design that is ready to play stimulus, in a folder that lives as long as the simulator's context."""

    folder: Path
    testbench: Testbench


class Simulator:
    """Icarus Verilog under an executor. Raises ToolNotFound when it is not installed."""

    def __init__(self, *, executor: Executor, scratch: Path | None = None) -> None:
        self._executor = executor
        self._scratch = scratch
        self._iverilog = find_tool("iverilog")
        self._vvp = find_tool("vvp")
        self.isolation = executor.isolation
        self.versions = {tool.name: tool.version for tool in (self._iverilog, self._vvp)}

    @contextlib.contextmanager
    def compiled(
        self, text: str, top: str, *, ports: tuple[Port, ...], protocol: Protocol
    ) -> Iterator[CompiledDesign | Failure]:
        """Compile a design in a fresh folder, which is removed at the end of the context."""
        with tempfile.TemporaryDirectory(prefix="earl-job-", dir=self._scratch) as name:
            folder = Path(name)
            testbench = build_testbench(top, ports, protocol)
            folder.joinpath(DESIGN_FILE).write_text(text, encoding="utf-8", errors="replace")
            folder.joinpath(_TESTBENCH_FILE).write_text(testbench.text)
            # The testbench comes first, so that no directive of the design reaches into it.
            sources = (_TESTBENCH_FILE, DESIGN_FILE)
            argv = compile_argv(str(self._iverilog.path), sources=sources, top=testbench.top, output=_IMAGE_FILE)
            result = self._executor.run(Command(argv=argv, cwd=folder, limits=COMPILE_LIMITS))
            ending = ending_of(result)
            if ending is Ending.CLEAN:
                yield CompiledDesign(folder=folder, testbench=testbench)
            else:
                yield compile_failure(ending, result)

    def play(self, design: CompiledDesign, row_file: str, num_rows: int) -> Trace | Failure:
        """Run the rows of a `testbench.row_file_text` on a compiled design."""
        design.folder.joinpath(ROW_FILE).write_text(row_file)
        argv = simulate_argv(str(self._vvp.path), image=_IMAGE_FILE)
        result = self._executor.run(Command(argv=argv, cwd=design.folder, limits=SIMULATE_LIMITS))
        ending = ending_of(result)
        if ending is not Ending.CLEAN:
            return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(describe_ending(ending, result),))
        trace = parse_trace(result.stdout, design.testbench, num_rows)
        if isinstance(trace, BrokenTrace):
            diagnostic = Diagnostic(message=f"the simulation did not run to its end: {trace.reason}", code="trace")
            return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(diagnostic,))
        return trace


def local_simulator(*, isolation: str = "auto", scratch: Path | None = None) -> Simulator:
    """A simulator on this machine. Raises as `local_executor` does."""
    return Simulator(executor=local_executor(isolation=isolation), scratch=scratch)


def local_executor(*, isolation: str = "auto") -> LocalExecutor:
    """Runs Icarus on this machine, on the strongest isolation rung that works here or on the one named.

    Raises ToolNotFound without Icarus, InfrastructureError when the named rung does not work.
    """
    prefixes = tuple({find_tool(name).prefix for name in ("iverilog", "vvp")})
    for prefix in prefixes:
        if Path.home().is_relative_to(prefix):
            raise InfrastructureError(
                f"Icarus is installed under {prefix}, which holds the home folder: the sandbox would show that to "
                "candidates. Install it under /usr or in a folder of its own."
            )
    return LocalExecutor(isolation=isolation, read_only=prefixes)


def compile_failure(ending: Ending, result: CommandResult) -> Failure:
    """The failure that a compiler's run is; its diagnostics have a line where they are about DESIGN_FILE."""
    found = parse_compile_log(result.stderr)
    # A compiler that refuses and names no error has not judged the source: that is odd, as a crash is.
    if ending is Ending.REFUSED and not any(diagnostic.severity == "error" for diagnostic in found):
        ending = Ending.CRASH
    diagnostics = tuple(_as_the_candidates(diagnostic) for diagnostic in found)
    if ending is not Ending.REFUSED:
        diagnostics += (describe_ending(ending, result),)
    return Failure(stage=Stage.COMPILE, ending=ending, diagnostics=diagnostics)


def _as_the_candidates(diagnostic: Diagnostic) -> Diagnostic:
    line = diagnostic.line if diagnostic.file == DESIGN_FILE else None
    return replace(diagnostic, file="", line=line)


def describe_ending(ending: Ending, result: CommandResult) -> Diagnostic:
    """How a run ended, in words, with the end of what it said on stderr."""
    if ending is Ending.TIME_LIMIT:  # which limit came first, and what was said by then, is a matter of load
        return Diagnostic(message=f"the run ended by {ending}", code=ending.replace(" ", "_"))
    what = f"the run ended by {ending} (exit code {result.returncode})"
    said = result.stderr.strip()[-_STDERR_SHOWN:]
    return Diagnostic(message=f"{what}: {said}" if said else what, code=ending.replace(" ", "_"))
