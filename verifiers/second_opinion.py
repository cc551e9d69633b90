"""A second simulator's opinion on a candidate that passed: the same rows on Verilator, against the same golden trace.

Verilator knows 0 and 1 only. So what is x or z in the golden's trace is not compared, a register without a reset
starts anywhere (at 0, at 1 and at random are played), and zero-width glitches and races may come out otherwise. Where
the golden itself does not agree with its own trace, or Verilator lacks a construct, there is no opinion, never a pass.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from toolchain.diagnostics import Diagnostic
from toolchain.executor import Executor
from toolchain.verilator import constant_start_args, random_start_args
from verifiers.build_cache import BuildCache, default_folder
from verifiers.checker import run_check
from verifiers.golden import GoldenRun, GoldenRuns, harness_of
from verifiers.reference import as_reference
from verifiers.simulate import Failure, local_simulator
from verifiers.trace import Comparison, Trace, compare, expectation_of
from verifiers.types import Port, Problem
from verifiers.verilator_checker import LintJob, VerilatorLint
from verifiers.verilator_simulate import VerilatorSimulator


class Stance(StrEnum):
    """What the second simulator says."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NO_OPINION = "no_opinion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """A second simulator's opinion. `lint` is what it remarks on the design's text, whatever the stance."""

    stance: Stance
    reason: str
    num_samples: int = 0
    num_mismatches: int = 0
    lint: tuple[Diagnostic, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()


def local_second_opinion(*, isolation: str = "auto") -> "SecondOpinion":
    """Verilator on this machine, against Icarus' traces. Raises ToolNotFound without either of them, or without g++."""
    simulator = VerilatorSimulator(isolation=isolation, cache=BuildCache(default_folder()))
    goldens = GoldenRuns(local_simulator(isolation=isolation))
    return SecondOpinion(simulator=simulator, goldens=goldens, executor=simulator.executor)


class SecondOpinion:
    """Asks Verilator. Goldens' traces come from `goldens`, so from the simulator that judged first."""

    def __init__(self, *, simulator: VerilatorSimulator, goldens: GoldenRuns, executor: Executor) -> None:
        self._simulator, self._goldens, self._executor = simulator, goldens, executor
        self._lint = VerilatorLint(verilator=simulator.verilator, root=simulator.root)

    def ask(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> Opinion:
        """The opinion on a candidate that has passed the static checks.

        Raises InfrastructureError when the golden does not run in the first simulator, or Verilator cannot be run.
        """
        reference = as_reference(problem)
        if reference is None:
            return self._silent("the problem has no golden to compare with")
        lint = run_check(self._lint, LintJob(text=text, top=problem.top_module), self._executor)
        opinion = self._compare_all(reference, text, seeds)
        return replace(opinion, lint=() if isinstance(lint, Failure) else lint)

    def _compare_all(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> Opinion:
        harness = harness_of(problem)
        ports, clocks = harness.ports, [clock.name for clock in harness.protocol.clocks]
        golden = self._simulator.program(problem.oracle.golden, problem.oracle.golden_top, ports, clocks)
        if isinstance(golden, Failure):
            return self._silent(f"Verilator does not build the golden: {_said(golden)}")
        candidate = self._simulator.program(text, problem.top_module, ports, clocks)
        if isinstance(candidate, Failure):
            return self._silent(f"Verilator does not build the candidate: {_said(candidate)}")
        num_samples = 0
        for seed, run in zip(seeds, self._goldens.runs(problem, seeds), strict=True):
            control = self._play(golden, ports, run, seed)
            if isinstance(control, Failure):
                return self._silent(f"the golden does not run in Verilator: {_said(control)}")
            if control.num_mismatches or not control.num_samples:
                return self._silent(
                    f"the golden itself differs in {control.num_mismatches} of {control.num_samples} samples"
                )
            comparison = self._play(candidate, ports, run, seed)
            if isinstance(comparison, Failure):
                return self._opinion(Stance.DIFFERS, f"the candidate does not run in Verilator: {_said(comparison)}")
            if comparison.num_mismatches:
                return self._differing(comparison, seed)
            num_samples += comparison.num_samples
        return self._opinion(Stance.AGREES, "every sample is right from every start", num_samples=num_samples)

    def _play(self, program: Path, ports: tuple[Port, ...], run: GoldenRun, seed: int) -> Comparison | Failure:
        """The worst comparison over three starts: all registers 0, all 1, and at random."""
        expected = expectation_of(_two_state(run.trace), run.stimulus)
        comparisons = []
        for start_args in (constant_start_args(0), constant_start_args(1), random_start_args(seed)):
            trace = self._simulator.play(program, ports, run.stimulus, start_args=start_args)
            if isinstance(trace, Failure):
                return trace
            comparisons.append(compare(expected, trace))
        return max(comparisons, key=lambda comparison: comparison.num_mismatches)

    def _differing(self, comparison: Comparison, seed: int) -> Opinion:
        first = comparison.first_mismatch
        assert first is not None, comparison
        where = f"under seed {seed}, row {first.row}, output {first.output}: {first.expected} expected, {first.got} got"
        return replace(
            self._opinion(Stance.DIFFERS, where, num_samples=comparison.num_samples),
            num_mismatches=comparison.num_mismatches,
        )

    def _silent(self, reason: str) -> Opinion:
        return self._opinion(Stance.NO_OPINION, reason)

    def _opinion(self, stance: Stance, reason: str, *, num_samples: int = 0) -> Opinion:
        versions = tuple(self._simulator.versions.items())
        return Opinion(stance=stance, reason=reason, num_samples=num_samples, versions=versions)


def _two_state(trace: Trace) -> Trace:
    """The trace with z made x: two-state values cannot show either."""
    values = {name: tuple(value.replace("z", "x") for value in column) for name, column in trace.values.items()}
    return Trace(values=values, num_rows=trace.num_rows)


def _said(failure: Failure) -> str:
    return "; ".join(diagnostic.message for diagnostic in failure.diagnostics[:2])
