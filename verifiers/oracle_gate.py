"""Every problem proves itself before use: its golden passes and repeats itself, cheats fail, mutants of it fail.

What fails here is quarantined: it could reward nothing, or anything. What the machine failed to try is not. Mutants
that are proved equivalent to the golden say nothing about an oracle and are left out; those that pass and could not be
decided count as passing and are listed.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol as Interface

from toolchain.errors import InfrastructureError
from verifiers.arbiter import is_host_busy
from verifiers.formal import FormalOutcome, FormalResult
from verifiers.gate_worker import GATE_JOB, GOLDEN_CHECK, GateJob
from verifiers.golden_check import GoldenCheck, golden_of, seeds_of
from verifiers.judgement import Judgement, WorkerSettings
from verifiers.mutate import MAX_MUTANTS, Mutant
from verifiers.problem_check import ProblemCheck, Survivor, with_score
from verifiers.seeds import group_seed
from verifiers.testbench_alone import testbench_alone
from verifiers.types import Outcome, Port, Problem, Protocol, Stage, Verdict
from verifiers.worker_process import WorkerLost, WorkerProcess

_MORE_SEEDS = range(100, 106)  # epochs: tried on mutants that no proof decides
_GOLDEN_WALL_S = 300.0
_START_WALL_S = 60.0
_PROOF_WALL_S = 30.0  # mostly a second is enough; a busy machine takes longer
_LOOKAHEAD = 3  # problems whose mutants wait at the farm while an earlier one is finished
_NOT_COMPILED = (Outcome.FORBIDDEN_CONSTRUCT, Outcome.SYNTAX_ERROR, Outcome.INTERFACE_ERROR, Outcome.ELABORATION_ERROR)


class JudgingFarm(Interface):
    """What the gate needs of a farm, local or remote."""

    isolation: str

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> "Future[Judgement]": ...


class Prover(Interface):
    """What the gate needs of `verifiers.formal.FormalProver`."""

    def prove(  # noqa: PLR0913  (the prover's own signature)
        self,
        *,
        golden: str,
        golden_top: str,
        candidate: str,
        candidate_top: str,
        ports: tuple[Port, ...],
        protocol: Protocol,
        wall_s: float,
    ) -> FormalResult: ...


class OracleGate:
    """Checks problems: goldens in a process of its own, mutants on `farm`, equivalence by `prover`.

    With `prover` None no passing mutant or constant can be proved equivalent. `num_mutants` bounds those of a problem.
    A context manager.
    """

    def __init__(
        self, *, farm: JudgingFarm, prover: Prover | None, seed: int = 0, num_mutants: int = MAX_MUTANTS
    ) -> None:
        self._farm = farm
        self._num_mutants = num_mutants
        self._prover = prover
        self._seed = seed
        self._worker: WorkerProcess | None = None

    def __enter__(self) -> "OracleGate":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drop_worker()

    def check(self, problems: Iterable[Problem]) -> Iterator[ProblemCheck]:
        """The checks of the problems, in order. Equal problems and seed, equal checks, but for proofs cut off by time.

        Raises InfrastructureError when the farm cannot judge at all.
        """
        under_way: deque[_UnderWay] = deque()
        for problem in problems:
            under_way.append(self._begin(problem))
            if len(under_way) > _LOOKAHEAD:
                yield self._finish(under_way.popleft())
        while under_way:
            yield self._finish(under_way.popleft())

    def _begin(self, problem: Problem) -> "_UnderWay":
        golden = self._check_golden(problem)
        alone = testbench_alone(problem, golden.ports) if golden.mutants else None
        return _UnderWay(
            problem=problem,
            golden=golden,
            futures=self._submit(problem, golden),
            futures_alone=self._submit(alone, golden) if alone is not None else None,
        )

    def _submit(self, problem: Problem, golden: GoldenCheck) -> "tuple[Future[Judgement], ...]":
        seeds = seeds_of(problem.problem_id, self._seed)[:1]  # one, as a verdict in training has
        return tuple(self._farm.submit(problem, mutant.text, seeds) for mutant in golden.mutants)

    def _check_golden(self, problem: Problem) -> GoldenCheck:
        try:
            check = self._ask_worker(problem)
        except WorkerLost:
            check = None
        if check is not None and not check.failures:
            return check
        self._drop_worker()
        try:  # once more, in a new process
            return self._ask_worker(problem)
        except WorkerLost as error:
            self._drop_worker()
            said = (f"the golden could not be checked, in two processes: {error}",)
            if is_host_busy():  # then it may be that, not the golden
                return GoldenCheck(problem_id=problem.problem_id, failures=said)
            return GoldenCheck(problem_id=problem.problem_id, reasons=said)

    def _ask_worker(self, problem: Problem) -> GoldenCheck:
        """Raises WorkerLost."""
        if self._worker is None:
            self._worker = self._start_worker()
        line = GATE_JOB.dump_json(GateJob(problem=problem, seed=self._seed, num_mutants=self._num_mutants))
        return GOLDEN_CHECK.validate_json(self._worker.ask(line, wall_s=_GOLDEN_WALL_S))

    def _start_worker(self) -> WorkerProcess:
        worker = WorkerProcess(WorkerSettings(isolation=self._farm.isolation), module="verifiers.gate_worker")
        try:
            worker.await_ready(wall_s=_START_WALL_S)
        except WorkerLost as error:
            raise InfrastructureError(f"the process that checks goldens does not start: {error}") from error
        return worker

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _finish(self, under_way: "_UnderWay") -> ProblemCheck:
        problem, golden = under_way.problem, under_way.golden
        reasons, failures = list(golden.reasons), list(golden.failures)
        equivalent_cheats = []
        for cheat in golden.passing_constants:
            proof = self._prove(problem, golden, cheat.text)
            if proof.outcome is FormalOutcome.EQUIVALENT:
                equivalent_cheats.append(cheat.name)
            else:
                reasons.append(f"{cheat.name} passes, and is not proved equivalent to the golden ({_words(proof)})")
        killed, num_equivalent, survivors = [], 0, []
        for mutant, future in zip(golden.mutants, under_way.futures, strict=True):
            verdict = future.result().verdict
            if not verdict.is_scored:
                failures.append(f"the mutant of line {mutant.line} could not be judged: {_said(verdict)}")
            elif verdict.passed:
                survivor = self._judge_survivor(problem, golden, mutant)
                survivors += [survivor] if survivor is not None else []
                num_equivalent += survivor is None
            elif not _is_no_mutant(verdict):
                killed.append(mutant)
        check = ProblemCheck(
            problem_id=problem.problem_id,
            reasons=tuple(reasons),
            failures=tuple(failures),
            num_samples=golden.num_samples,
            num_killed=len(killed),
            num_equivalent=num_equivalent,
            survivors=tuple(survivors),
            golden_outcome=golden.outcome,
            cheats=golden.cheats,
            equivalent_cheats=tuple(equivalent_cheats),
            ports=golden.ports,
            testbench_survivors=under_way.passing_alone({*killed, *(survivor.mutant for survivor in survivors)}),
        )
        return with_score(check)

    def _judge_survivor(self, problem: Problem, golden: GoldenCheck, mutant: Mutant) -> Survivor | None:
        """None when the mutant is equivalent to the golden."""
        proof = self._prove(problem, golden, mutant.text)
        if proof.outcome is FormalOutcome.EQUIVALENT:
            return None
        if proof.outcome is FormalOutcome.DIFFERENT:
            return Survivor(mutant=mutant, is_different=True, evidence=_words(proof))
        seeds = [group_seed(self._seed, problem.problem_id, epoch) for epoch in _MORE_SEEDS]
        futures = [self._farm.submit(problem, mutant.text, (seed,)) for seed in seeds]
        for seed, verdict in zip(seeds, [future.result().verdict for future in futures], strict=True):
            if verdict.is_scored and not verdict.passed:
                return Survivor(mutant=mutant, is_different=True, evidence=f"fails under seed {seed}")
        return Survivor(mutant=mutant, is_different=False, evidence=_words(proof))

    def _prove(self, problem: Problem, golden: GoldenCheck, candidate: str) -> FormalResult:
        if self._prover is None:
            return FormalResult(outcome=FormalOutcome.UNKNOWN, reason="no prover was asked")
        source, top = golden_of(problem)
        return self._prover.prove(
            golden=source,
            golden_top=top,
            candidate=candidate,
            candidate_top=problem.top_module,
            ports=golden.ports,
            protocol=golden.protocol,
            wall_s=_PROOF_WALL_S,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _UnderWay:
    """A problem whose mutants are at the farm."""

    problem: Problem
    golden: GoldenCheck
    futures: tuple["Future[Judgement]", ...]
    futures_alone: tuple["Future[Judgement]", ...] | None  # of the problem's own testbench without ours

    def passing_alone(self, counted: set[Mutant]) -> tuple[Mutant, ...] | None:
        """Those of the counted mutants that the problem's own testbench passes; None where it gives no verdict."""
        verdicts = [future.result().verdict for future in self.futures_alone or ()]
        if self.futures_alone is None or not all(verdict.is_scored for verdict in verdicts):
            return None
        pairs = zip(self.golden.mutants, verdicts, strict=True)
        return tuple(mutant for mutant, verdict in pairs if mutant in counted and verdict.passed)


def _is_no_mutant(verdict: Verdict) -> bool:
    """Whether the text never came to run: then no oracle had a say."""
    return verdict.outcome in _NOT_COMPILED or verdict.stage is Stage.COMPILE


def _words(proof: FormalResult) -> str:
    words = [str(proof.outcome), f"output {proof.output}" if proof.output else "", proof.reason]
    return ", ".join(word for word in words if word)


def _said(verdict: Verdict) -> str:
    return "; ".join(diagnostic.message for diagnostic in verdict.diagnostics[:2]) or str(verdict.outcome)
