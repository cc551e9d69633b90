"""Judges one candidate: static checks, compile, simulate under each seed, compare. Stops at the first failure.

Every way in which a run can end is given to the candidate or to us here, and nowhere else. An odd end (a crash, an
incomplete trace) is the candidate's only if it repeats while the golden still runs.
"""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from toolchain.diagnostics import Diagnostic
from toolchain.errors import EarlError
from toolchain.icarus import Ending
from verifiers.cache import DiskCache, unified
from verifiers.cocotb_judge import CocotbJudge, local_cocotb_judge
from verifiers.cone import suspect_lines
from verifiers.errors import ProblemError
from verifiers.extract import extract
from verifiers.golden import GoldenRun, GoldenRuns, Harness, harness_of
from verifiers.judgement import Judgement
from verifiers.reference import as_reference
from verifiers.simulate import Design, Failure, Simulator, local_executor
from verifiers.static_check import static_check
from verifiers.stock import StockFinding, StockJudge, required_ports
from verifiers.trace import Trace, compare
from verifiers.trace_store import TraceStore
from verifiers.types import Candidate, CocotbOracle, Outcome, Problem, Stage, TestbenchOracle, Verdict

_OUTCOMES = {  # of a failure that is the candidate's
    (Stage.COMPILE, Ending.REFUSED): Outcome.ELABORATION_ERROR,
    (Stage.COMPILE, Ending.TIME_LIMIT): Outcome.TIMEOUT,
    (Stage.COMPILE, Ending.RESOURCE_LIMIT): Outcome.RESOURCE_LIMIT,
    (Stage.COMPILE, Ending.CRASH): Outcome.ELABORATION_ERROR,
    (Stage.SIMULATE, Ending.TIME_LIMIT): Outcome.TIMEOUT,
    (Stage.SIMULATE, Ending.RESOURCE_LIMIT): Outcome.RESOURCE_LIMIT,
    (Stage.SIMULATE, Ending.CRASH): Outcome.RESOURCE_LIMIT,
    (Stage.SIMULATE, Ending.REFUSED): Outcome.MISMATCH,
    (Stage.SIMULATE, Ending.CLEAN): Outcome.MISMATCH,
}


class Verifier:
    """Judges candidates on this machine, in this process. Not for several threads at once: see `verifiers.farm`.

    `isolation` is "auto" or a rung of `toolchain.sandbox`; `scratch` is where job folders are made; golden traces and
    scores are kept in `cache` too.
    """

    def __init__(self, *, isolation: str = "auto", scratch: Path | None = None, cache: DiskCache | None = None) -> None:
        executor = local_executor(isolation=isolation, scratch=scratch)
        self.simulator = Simulator(executor=executor)
        self._scratch = scratch
        self.stock = StockJudge(executor=executor, cache=cache)
        self.isolation = self.simulator.isolation
        store = None if cache is None else TraceStore(cache, self.simulator.versions)
        self.goldens = GoldenRuns(self.simulator, store)
        self.versions = {**self.simulator.versions, "pyslang": version("pyslang")}

    @functools.cached_property
    def _cocotb(self) -> CocotbJudge:
        """Made when the first cocotb oracle comes: cocotb is an extra, and its sandbox shows this Python too."""
        return local_cocotb_judge(isolation=self.isolation, scratch=self._scratch)

    def judge(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> Judgement:
        """Take the code out of a completion and judge it. No code is an outcome, not an error."""
        candidate = extract(completion_text, problem.top_module)
        if candidate is None:
            return self.no_code(problem, seeds[0])
        return Judgement(candidate=candidate, verdict=self.verify(problem, candidate, seeds))

    def no_code(self, problem: Problem, seed: int) -> Judgement:
        """The judgement on a completion without a candidate."""
        message = f"the completion holds no Verilog that could define {problem.top_module}"
        verdict = self._verdict(Outcome.NO_CODE, Stage.EXTRACT, seed, (Diagnostic(message=message),))
        return Judgement(candidate=None, verdict=verdict)

    def verify(self, problem: Problem, candidate: Candidate, seeds: tuple[int, ...]) -> Verdict:
        """Judge a candidate under every seed in turn. A pass needs all of them. Line ends make no difference.

        The verdict of a pass is the last seed's, of a failure the failing seed's. A failure of ours (a golden that
        does not run, a lost tool) is the outcome TOOL_ERROR, never an exception.
        """
        assert seeds, "a verdict needs a seed"
        started = time.monotonic()
        try:
            verdict = self._verify(problem, replace(candidate, text=unified(candidate.text)), seeds)
        except (EarlError, OSError) as error:  # a full disk, no file handles left: ours
            verdict = self.tool_error(error, seeds[0])
        return replace(verdict, duration_s=time.monotonic() - started)

    def verify_golden(self, problem: Problem, seeds: tuple[int, ...]) -> Verdict:
        """The verdict on the golden run afresh against itself: a pass, or TOOL_ERROR when it does not run here.

        Where there is no golden, a pass says no more than that the testbench runs.
        """
        verdict = self._verdict(Outcome.PASSED, Stage.SIMULATE, seeds[0], ())
        reference = as_reference(problem)
        try:
            if isinstance(problem.oracle, TestbenchOracle):
                self.stock.control(problem, is_fresh=True)
            elif isinstance(problem.oracle, CocotbOracle):
                self._cocotb.control(problem, is_fresh=True)
            for seed in seeds if reference is not None else ():
                golden = self.goldens.run(reference, seed, is_fresh=True)
                verdict = self._compare(golden, golden.trace)
        except (EarlError, OSError) as error:
            return self.tool_error(error, seeds[0])
        return verdict

    def _verify(self, problem: Problem, candidate: Candidate, seeds: tuple[int, ...]) -> Verdict:
        return self.check(problem, candidate, seeds[0]) or self.verify_checked(problem, candidate, seeds)

    def check(self, problem: Problem, candidate: Candidate, seed: int) -> Verdict | None:
        """The verdict of the static checks, or None when the candidate may be simulated. Raises EarlError."""
        reference = as_reference(problem)
        if reference is not None:
            ports = harness_of(reference).ports
        elif isinstance(problem.oracle, CocotbOracle):
            ports = problem.ports  # None: what the tests do not find, they say
        else:
            ports = required_ports(problem)
        finding = static_check(candidate.text, problem.top_module, ports)
        return None if finding is None else self._verdict(finding.outcome, finding.stage, seed, finding.diagnostics)

    def verify_checked(
        self,
        problem: Problem,
        candidate: Candidate,
        seeds: tuple[int, ...],
        own: Verdict | None = None,
        stock: StockFinding | None = None,
    ) -> Verdict:
        """The verdict on a candidate that passed the static checks.

        `own` is the verdict of our own generated testbench, `stock` the stock testbench's finding, where they are
        known. Raises EarlError, OSError.
        """
        if isinstance(problem.oracle, TestbenchOracle):
            self.stock.control(problem)  # a problem whose golden fails blames no candidate
        elif isinstance(problem.oracle, CocotbOracle):
            self._cocotb.control(problem)
        reference = as_reference(problem)
        verdict = own
        if verdict is None and reference is not None:
            verdict = self._verify_by_reference(reference, candidate, seeds)
        if verdict is not None and not verdict.passed:
            return verdict
        if isinstance(problem.oracle, TestbenchOracle):
            finding = stock or self.stock.judge(problem, candidate.text)
            verdict = self._verify_by_testbench(finding, verdict, seeds)
        elif isinstance(problem.oracle, CocotbOracle):
            verdict = self._verify_by_cocotb(problem, candidate, verdict, seeds)
        assert verdict is not None, f"{problem.problem_id} has no oracle that this verifier knows"
        return verdict

    def _verify_by_testbench(
        self, finding: StockFinding | Failure, own: Verdict | None, seeds: tuple[int, ...]
    ) -> Verdict:
        """The verdict of a stock testbench, which adds to `own`, that of our own generated one."""
        if isinstance(finding, Failure):
            return self._verdict(_outcome_of(finding), finding.stage, seeds[0], finding.diagnostics)
        base = own or self._verdict(Outcome.PASSED, Stage.COMPARE, seeds[0], ())
        return replace(
            base,
            outcome=Outcome.MISMATCH if finding.faults else Outcome.PASSED,
            num_samples=base.num_samples + finding.score.num_samples,
            num_mismatches=finding.score.num_mismatches,
            diagnostics=finding.faults,
        )

    def _verify_by_cocotb(
        self, problem: Problem, candidate: Candidate, own: Verdict | None, seeds: tuple[int, ...]
    ) -> Verdict:
        """The verdict of cocotb tests under every seed, which adds to `own`, that of our own generated testbench."""
        for seed in seeds:
            finding = self._cocotb.judge(problem, candidate.text, seed)
            if isinstance(finding, Failure):
                return self._verdict(_outcome_of(finding), finding.stage, seed, finding.diagnostics)
            if finding.faults:
                break
        base = own or self._verdict(Outcome.PASSED, Stage.COMPARE, seed, ())
        return replace(
            base,
            outcome=Outcome.MISMATCH if finding.faults else Outcome.PASSED,
            seed=seed,
            num_samples=base.num_samples + finding.num_tests,
            num_mismatches=len(finding.faults),
            diagnostics=finding.faults,
            versions=self.versions | self._cocotb.versions_of(problem.oracle),
        )

    def _verify_by_reference(self, problem: Problem, candidate: Candidate, seeds: tuple[int, ...]) -> Verdict:
        """The verdict of our own generated testbench. The static checks are behind the candidate."""
        result = self._simulate(problem, candidate, seeds)
        if isinstance(result, _Stop) and result.is_odd:
            # Ours or the candidate's? If it is the machine, the golden fails too, or a second try goes through.
            self.goldens.run(problem, result.seed, is_fresh=True)
            result = self._simulate(problem, candidate, seeds)
        if isinstance(result, _Stop):
            outcome = _outcome_of(result.failure)
            return self._verdict(outcome, result.failure.stage, result.seed, result.failure.diagnostics)
        return self.with_suspects(problem, candidate, result)

    def with_suspects(self, problem: Problem, candidate: Candidate, verdict: Verdict) -> Verdict:
        """The verdict with the source lines that feed its wrong outputs."""
        return replace(verdict, suspect_lines=suspect_lines(candidate.text, problem.top_module, verdict.outputs))

    def _simulate(self, problem: Problem, candidate: Candidate, seeds: tuple[int, ...]) -> "Verdict | _Stop":
        """The verdict by simulation, or where and how that stopped short of one."""
        harness = harness_of(problem)
        goldens = self.goldens.runs(problem, seeds)
        traces = self._play(candidate.text, problem.top_module, harness, goldens)
        if isinstance(traces, Failure) and len(goldens) > 1:  # under which seed? each has a run of its own
            traces = []
            for golden in goldens:
                found = self._play(candidate.text, problem.top_module, harness, [golden])
                if isinstance(found, Failure):
                    return _Stop(failure=found, seed=golden.stimulus.seed)
                traces += found
                if not self._compare(golden, found[0]).passed:
                    break
        if isinstance(traces, Failure):
            return _Stop(failure=traces, seed=seeds[0])
        return self.verdict_of_traces(goldens, traces)

    def _play(self, text: str, top: str, harness: Harness, goldens: Sequence[GoldenRun]) -> Sequence[Trace] | Failure:
        """The traces of a design under the stimulus of each golden run, or what one of them came to."""
        stimuli = tuple(golden.stimulus for golden in goldens)
        result = self.simulator.simulate(
            (Design(text=text, top=top),), stimuli, ports=harness.ports, protocol=harness.protocol
        )
        return result if isinstance(result, Failure) else result.traces[0]

    def verdict_of_traces(self, goldens: Sequence[GoldenRun], traces: Sequence[Trace]) -> Verdict:
        """The verdict of the first trace that differs from its golden's, or else of the last."""
        for golden, trace in zip(goldens, traces, strict=False):
            verdict = self._compare(golden, trace)
            if not verdict.passed:
                break
        return verdict

    def _compare(self, golden: GoldenRun, trace: Trace) -> Verdict:
        seed = golden.stimulus.seed
        comparison = compare(golden.expectation, trace)
        if comparison.num_samples == 0:
            raise ProblemError(f"the golden has no known output under seed {seed}: nothing can be compared.")
        return Verdict(
            outcome=Outcome.MISMATCH if comparison.num_mismatches else Outcome.PASSED,
            stage=Stage.COMPARE,
            seed=seed,
            num_samples=comparison.num_samples,
            num_mismatches=comparison.num_mismatches,
            outputs=comparison.outputs,
            first_mismatch=comparison.first_mismatch,
            versions=self.versions,
            isolation=self.simulator.isolation,
        )

    def tool_error(self, error: Exception, seed: int) -> Verdict:
        """The verdict where we failed."""
        diagnostic = Diagnostic(message=str(error), code=type(error).__name__)
        return self._verdict(Outcome.TOOL_ERROR, Stage.SIMULATE, seed, (diagnostic,))

    def _verdict(self, outcome: Outcome, stage: Stage, seed: int, diagnostics: tuple[Diagnostic, ...]) -> Verdict:
        """A verdict that no comparison was reached for."""
        return Verdict(
            outcome=outcome,
            stage=stage,
            seed=seed,
            diagnostics=diagnostics,
            versions=self.versions,
            isolation=self.simulator.isolation,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stop:
    """A simulation that gave no trace."""

    failure: Failure
    seed: int

    @property
    def is_odd(self) -> bool:
        return self.failure.is_odd


def _outcome_of(failure: Failure) -> Outcome:
    is_refused = (failure.stage, failure.ending) == (Stage.COMPILE, Ending.REFUSED)
    if is_refused and any(diagnostic.code == "syntax" for diagnostic in failure.diagnostics):
        return Outcome.SYNTAX_ERROR
    return _OUTCOMES[failure.stage, failure.ending]
