"""The first half of a problem's proof, on this machine: its golden passes and repeats itself, cheats do not pass.

Draws the mutants for the second half too (`verifiers.oracle_gate`). Reads the golden with native code and runs
simulators: call it in a process that may be killed.
"""

from dataclasses import dataclass, replace

from toolchain.errors import EarlError, InfrastructureError, UsageError
from verifiers.cheats import Cheat, cheats_of
from verifiers.errors import PROBLEM_FAULT, ProblemError
from verifiers.golden import GoldenRun, harness_of
from verifiers.infer import constant_outputs
from verifiers.lexer import rename_identifier
from verifiers.mutate import MAX_MUTANTS, Mutant, mutants_of
from verifiers.reference import as_reference
from verifiers.seeds import group_seed
from verifiers.trace import has_known_bit
from verifiers.types import Candidate, Outcome, Port, Problem, Protocol, Verdict
from verifiers.verify import Verifier

NUM_SEEDS = 3
NUM_RUNS = 3  # at one seed: they must agree
MIN_KNOWN_FRACTION = 0.2  # of an output's scored rows
_PROBLEM_FAULTS = (PROBLEM_FAULT, UsageError.__name__)
_NO_PROTOCOL = Protocol()


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedCheat:
    """A cheat and how it ended under all seeds."""

    cheat: Cheat
    outcome: Outcome

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenCheck:
    """What the golden itself shows. Mutants and ports are there only if it is fit to be mutated."""

    problem_id: str
    reasons: tuple[str, ...] = ()  # against the problem
    failures: tuple[str, ...] = ()  # of the machine: what could not be tried
    num_samples: int = 0  # of the golden, over all seeds tried
    outcome: Outcome | None = None  # of the golden: the first that is no pass, if there is one; None where untried
    cheats: tuple[TriedCheat, ...] = ()
    mutants: tuple[Mutant, ...] = ()
    ports: tuple[Port, ...] = ()
    protocol: Protocol = _NO_PROTOCOL

    @property
    def passing_constants(self) -> tuple[Cheat, ...]:
        """To be proved equivalent to the golden, or a reason against the problem."""
        return tuple(tried.cheat for tried in self.cheats if tried.passed and tried.cheat.is_constant)


def seeds_of(problem_id: str, seed: int) -> tuple[int, ...]:
    """The stimulus seeds that a problem is checked with."""
    return tuple(group_seed(seed, problem_id, epoch) for epoch in range(NUM_SEEDS))


def golden_of(problem: Problem) -> tuple[str, str]:
    """The golden's source and the name of its top module. Raises UsageError for an oracle without one."""
    oracle = problem.oracle
    if oracle.golden is None or oracle.golden_top is None:
        raise UsageError("the oracle has no golden design, so nothing can be proved; add one that it must pass")
    return oracle.golden, oracle.golden_top


def check_golden(problem: Problem, verifier: Verifier, *, seed: int, num_mutants: int = MAX_MUTANTS) -> GoldenCheck:
    """Try a problem's golden and the cheats, draw its mutants. Never raises for a bad problem: that is a reason."""
    try:
        return _check(problem, verifier, seed, num_mutants)
    except (ProblemError, UsageError) as error:
        return GoldenCheck(problem_id=problem.problem_id, reasons=(str(error),))
    except EarlError as error:
        return GoldenCheck(problem_id=problem.problem_id, failures=(str(error),))


def _check(problem: Problem, verifier: Verifier, seed: int, num_mutants: int) -> GoldenCheck:
    golden, golden_top = golden_of(problem)
    seeds = seeds_of(problem.problem_id, seed)
    as_completion = rename_identifier(golden, golden_top, problem.top_module)
    verdicts = [
        replace(verifier.judge(problem, as_completion, (seed,)).verdict, duration_s=0.0)
        for seed in (*seeds, *seeds[:1] * (NUM_RUNS - 1))
    ]
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        return _golden_failed(problem, failed[0])
    # Whatever the oracle, its golden is a reference: our own stimulus shows what it does.
    reference = as_reference(problem)
    assert reference is not None, "golden_of has found a golden"
    harness = harness_of(reference)
    runs = verifier.goldens.runs(reference, seeds)
    again = [verifier.goldens.run(reference, seeds[0], is_fresh=True).trace for _ in range(NUM_RUNS - 1)]
    reasons = []
    if any(trace != runs[0].trace for trace in again) or any(v != verdicts[0] for v in verdicts[NUM_SEEDS:]):
        reasons.append(f"the golden differs between {NUM_RUNS} runs under seed {seeds[0]}")
    constants = constant_outputs(golden, golden_top)
    for port in harness.ports:
        if port.direction == "output":
            reasons += _check_output(port.name, runs, is_constant=port.name in constants)
    cheats = cheats_of(problem.top_module, harness.ports, golden_top, runs[0].trace.values)
    tried = _try_cheats(problem, verifier, seeds, cheats)
    reasons += [f"{x.cheat.name} passes" for x in tried if x.passed and not x.cheat.is_constant]
    return GoldenCheck(
        problem_id=problem.problem_id,
        reasons=tuple(reasons),
        outcome=Outcome.PASSED,
        num_samples=sum(verdict.num_samples for verdict in verdicts[:NUM_SEEDS]),
        cheats=tried,
        mutants=mutants_of(as_completion, problem.top_module, harness.ports, seed=seeds[0], limit=num_mutants),
        ports=harness.ports,
        protocol=harness.protocol,
    )


def _golden_failed(problem: Problem, verdict: Verdict) -> GoldenCheck:
    reason = f"the golden fails: {_why(verdict)}"
    is_problems = _error_of(verdict) is ProblemError
    return GoldenCheck(
        problem_id=problem.problem_id,
        reasons=(reason,) if is_problems else (),
        failures=() if is_problems else (reason,),
        outcome=verdict.outcome,
    )


def _check_output(name: str, runs: list[GoldenRun], *, is_constant: bool) -> list[str]:
    scored = [value for run in runs for value in run.trace.values[name][run.stimulus.first_scored_row :]]
    known = [value for value in scored if has_known_bit(value)]
    fraction = len(known) / len(scored)
    if fraction < MIN_KNOWN_FRACTION:
        return [f"output {name} is known in {fraction:.0%} of the samples only (at least {MIN_KNOWN_FRACTION:.0%})"]
    if len(set(known)) == 1 and not is_constant:
        return [f"output {name} never changes under {len(runs)} seeds, though it is no constant: drive it further"]
    return []


def _try_cheats(
    problem: Problem, verifier: Verifier, seeds: tuple[int, ...], cheats: tuple[Cheat, ...]
) -> tuple[TriedCheat, ...]:
    tried = []
    for cheat in cheats:
        verdict = verifier.verify(problem, Candidate(text=cheat.text), seeds)
        if not verdict.is_scored:
            raise _error_of(verdict)(f"{cheat.name} could not be tried: {_why(verdict)}")
        tried.append(TriedCheat(cheat=cheat, outcome=verdict.outcome))
    return tuple(tried)


def _error_of(verdict: Verdict) -> type[InfrastructureError]:
    """Whose fault it is that a verdict is no pass: the problem's, unless a tool failed for another reason."""
    is_problems = any(diagnostic.code in _PROBLEM_FAULTS for diagnostic in verdict.diagnostics)
    return ProblemError if verdict.is_scored or is_problems else InfrastructureError


def _why(verdict: Verdict) -> str:
    said = [diagnostic.message for diagnostic in verdict.diagnostics[:2]]
    if verdict.first_mismatch is not None:
        first = verdict.first_mismatch
        said.append(f"row {first.row}, output {first.output}: expected {first.expected}, got {first.got}")
    return f"{verdict.outcome} under seed {verdict.seed}: {'; '.join(said)}"
