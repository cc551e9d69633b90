"""Compiles a design with its testbench and plays stimulus on it: source in, trace or failure out.

Says how a run ended, not whose fault it is: that is `verifiers.verify`'s. A simulation has a fresh folder of its own,
which is the only thing that its processes can write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolchain.command import CommandResult, Limits, Step
from toolchain.diagnostics import Diagnostic
from toolchain.errors import InfrastructureError
from toolchain.executor import Executor, open_executor
from toolchain.icarus import Ending, ending_of, parse_compile_log, simulate_argv
from toolchain.icarus_direct import find_direct_compiler
from toolchain.tool import find_tool
from verifiers.checker import run_check
from verifiers.icarus_build import IMAGE_FILE, IcarusBuilder
from verifiers.stimulus import Stimulus
from verifiers.testbench import TIMESCALE, Testbench, build_testbench, row_file_name
from verifiers.trace import BrokenTrace, Trace, parse_traces
from verifiers.types import Port, Protocol, Stage

# CPU time is the limit that counts: it is the same on a busy machine. The wall is for a run that sleeps.
SIMULATE_LIMITS = Limits(cpu_s=3, wall_s=30.0, memory_bytes=1 << 30, output_bytes=32 << 20)

DESIGN_FILE = "design.v"  # of a job's folder
_TESTBENCH_FILE = "testbench.v"
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
class Design:
    """A source and its top module."""

    text: str
    top: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """Designs compiled with a testbench, ready to be played on: its text is the simulator's own."""

    text: str
    testbench: Testbench


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationJob:
    """Designs of equal ports, whose modules have different names, and what to play on each of them."""

    designs: tuple[Design, ...]
    stimuli: tuple[Stimulus, ...]
    testbench: Testbench
    keeps_image: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayJob:
    """What to play on the designs of an image."""

    image: Image
    stimuli: tuple[Stimulus, ...]


Traces = tuple[tuple[Trace, ...], ...]  # [design][stimulus]


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """The traces of a run, and the image where it was to be kept."""

    traces: Traces
    image: Image | None = None


class IcarusChecker:
    """Compiles designs with their testbench and plays on them."""

    def __init__(self, *, builder: IcarusBuilder, vvp: str) -> None:
        self._builder = builder
        self._vvp = vvp

    def files(self, job: SimulationJob) -> dict[str, str]:
        """The row files, and the sources as the compiler wants them."""
        return _row_files(job.stimuli) | self._builder.files(_sources(job), (job.testbench.top,))

    def steps(self, job: SimulationJob) -> tuple[Step, ...]:
        """Compile, play."""
        return (self._builder.step(_sources(job), (job.testbench.top,)), _play_step(self._vvp))

    def collects(self, job: SimulationJob) -> tuple[str, ...]:
        """The traces are printed."""
        return (IMAGE_FILE,) if job.keeps_image else ()

    def parse(
        self, job: SimulationJob, results: Sequence[CommandResult], outputs: dict[str, str]
    ) -> Simulation | Failure:
        """The traces, or how the compiler (one result) or the simulation (two) failed to give them."""
        failure = failure_of(results)
        if failure is not None:
            return failure
        traces = _read_traces(results[-1].stdout, job.testbench, job.stimuli)
        if isinstance(traces, Failure):
            return traces
        image = Image(text=outputs[IMAGE_FILE], testbench=job.testbench) if job.keeps_image else None
        return Simulation(traces=traces, image=image)


class IcarusReplayer:
    """Plays on designs that were compiled before."""

    def __init__(self, *, vvp: str) -> None:
        self._vvp = vvp

    def files(self, job: ReplayJob) -> dict[str, str]:
        """The image and the row files."""
        return _row_files(job.stimuli) | {IMAGE_FILE: job.image.text}

    def steps(self, job: ReplayJob) -> tuple[Step, ...]:
        """Play."""
        return (_play_step(self._vvp),)

    def collects(self, job: ReplayJob) -> tuple[str, ...]:
        """Nothing: the traces are printed."""
        return ()

    def parse(self, job: ReplayJob, results: Sequence[CommandResult], outputs: dict[str, str]) -> Traces | Failure:
        """The traces, or how the simulation failed to give them."""
        [result] = results
        if ending_of(result) is not Ending.CLEAN:
            return simulation_failure(result)
        return _read_traces(result.stdout, job.image.testbench, job.stimuli)


def _play_step(vvp: str) -> Step:
    return Step(argv=simulate_argv(vvp, image=IMAGE_FILE), limits=SIMULATE_LIMITS)


def _row_files(stimuli: Sequence[Stimulus]) -> dict[str, str]:
    return {row_file_name(index): stimulus.row_file for index, stimulus in enumerate(stimuli)}


def _read_traces(stdout: str, testbench: Testbench, stimuli: Sequence[Stimulus]) -> Traces | Failure:
    traces = parse_traces(stdout, testbench, tuple(stimulus.num_rows for stimulus in stimuli))
    if isinstance(traces, BrokenTrace):
        diagnostic = Diagnostic(message=f"the simulation did not run to its end: {traces.reason}", code="trace")
        return Failure(stage=Stage.SIMULATE, ending=Ending.CLEAN, diagnostics=(diagnostic,))
    return traces


def _sources(job: SimulationJob) -> dict[str, str]:
    """The sources by file name, in order: the testbench first, so that no directive of a design reaches into it.

    A single design finds what the testbench leaves: the language's defaults but for the time scale. So do the others.
    """
    sources = {_TESTBENCH_FILE: job.testbench.text, DESIGN_FILE: job.designs[0].text}
    for number, design in enumerate(job.designs[1:], start=1):
        sources[f"defaults{number}.v"] = f"`resetall\n{TIMESCALE}\n"
        sources[f"design{number}.v"] = design.text
    return sources


class Simulator:
    """Icarus Verilog under an executor. Raises ToolNotFound when it is not installed."""

    def __init__(self, *, executor: Executor) -> None:
        self._executor = executor
        tools = [find_tool(name) for name in ("iverilog", "vvp")]
        iverilog, vvp = (str(tool.path) for tool in tools)
        builder = IcarusBuilder(iverilog=iverilog, direct=find_direct_compiler())
        self._checker = IcarusChecker(builder=builder, vvp=vvp)
        self._replayer = IcarusReplayer(vvp=vvp)
        self.isolation = executor.isolation
        self.versions = {tool.name: tool.version for tool in tools}

    def simulate(
        self,
        designs: tuple[Design, ...],
        stimuli: tuple[Stimulus, ...],
        *,
        ports: tuple[Port, ...],
        protocol: Protocol,
        keeps_image: bool = False,
    ) -> Simulation | Failure:
        """Play every stimulus on every design, in one simulation: a design that ends it ends it for all.

        `keeps_image` is for a golden, to be played on again: its testbench's nonces are then no secret any more.
        """
        tops = tuple(design.top for design in designs)
        testbench = build_testbench(tops, ports, protocol, num_row_files=len(stimuli))
        job = SimulationJob(designs=designs, stimuli=stimuli, testbench=testbench, keeps_image=keeps_image)
        return run_check(self._checker, job, self._executor)

    def replay(self, image: Image, stimuli: tuple[Stimulus, ...]) -> Traces | Failure:
        """Play as many stimuli as before on the designs of an image."""
        return run_check(self._replayer, ReplayJob(image=image, stimuli=stimuli), self._executor)


def local_simulator(*, isolation: str = "auto", scratch: Path | None = None) -> Simulator:
    """A simulator on this machine. Raises as `local_executor` does."""
    return Simulator(executor=local_executor(isolation=isolation, scratch=scratch))


def local_executor(*, isolation: str = "auto", scratch: Path | None = None) -> Executor:
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
    return open_executor(isolation=isolation, read_only=prefixes, scratch=scratch)


def failure_of(results: Sequence[CommandResult]) -> Failure | None:
    """How the compiler (one result) or the simulation (two) failed; None when both ended well."""
    ending = ending_of(results[-1])
    if ending is not Ending.CLEAN:
        if len(results) == 1:
            return compile_failure(ending, results[-1])
        return simulation_failure(results[-1])
    assert len(results) == 2, f"a clean compilation is followed by a run, got {len(results)} results"
    return None


def simulation_failure(result: CommandResult) -> Failure:
    """The failure that a simulator's run is."""
    ending = ending_of(result)
    return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(describe_ending(ending, result),))


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
