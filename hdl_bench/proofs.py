"""Puts passes on stock testbenches to proof: what is proved different from the golden does not pass.

Where formal equivalence does not decide, the simulations' verdict stands. Problems whose oracle is the golden alone are
left to their own testbench, as in training; so are those whose inputs are known to be restricted, which a proof would
not respect.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from toolchain.diagnostics import Diagnostic
from toolchain.tool import find_tool
from verifiers.cache import DiskCache, entry_key, problem_digest
from verifiers.formal import FormalOutcome, FormalProver, FormalResult
from verifiers.golden import harness_of
from verifiers.judgement import Judgement
from verifiers.reference import as_reference
from verifiers.types import Outcome, Problem, TestbenchOracle, Verdict

PROOF_WALL_S = 10.0
_RESULT = TypeAdapter(FormalResult)


def prove_passes(
    problems: Sequence[Problem],
    judgements: Sequence[Judgement],
    prover: FormalProver,
    progress: Callable[[int], None],
    *,
    cache: DiskCache | None = None,
) -> list[tuple[Verdict, FormalOutcome | None]]:
    """The verdict on each judgement when its proof is known, and what the proof said; None where none was tried.

    Equal candidates of a problem are proved once, and looked up in the cache. `progress` is told how many are done.
    """
    known: dict[tuple[str, str], FormalResult] = {}
    answers: list[tuple[Verdict, FormalOutcome | None]] = []
    for num_done, (problem, judgement) in enumerate(zip(problems, judgements, strict=True), start=1):
        if judgement.verdict.passed and judgement.candidate is not None and is_provable(problem):
            key = (problem.problem_id, judgement.candidate.text)
            if key not in known:
                known[key] = _prove(prover, problem, judgement.candidate.text, cache)
            answers.append((verdict_with(judgement.verdict, known[key]), known[key].outcome))
        else:
            answers.append((judgement.verdict, None))
        progress(num_done)
    return answers


def _prove(prover: FormalProver, problem: Problem, text: str, cache: DiskCache | None) -> FormalResult:
    """A proof, kept in the cache where it decided: an unknown may be no more than a busy machine."""
    if cache is None:
        return prove_candidate(prover, problem, text)
    key = entry_key("proof", problem_digest(problem), text, find_tool("iverilog").version)
    if (stored := cache.get(key)) is not None:
        return _RESULT.validate_json(stored)
    result = prove_candidate(prover, problem, text)
    if result.outcome is not FormalOutcome.UNKNOWN:
        cache.put(key, _RESULT.dump_json(result))
    return result


def is_provable(problem: Problem) -> bool:
    """Whether a pass on this problem is put to proof."""
    oracle = problem.oracle
    if not isinstance(oracle, TestbenchOracle) or oracle.golden is None:
        return False
    return oracle.protocol is None or not oracle.protocol.one_hot


def verdict_with(verdict: Verdict, result: FormalResult) -> Verdict:
    """A passing verdict when its proof is known: a mismatch where the design is proved different."""
    if result.outcome is not FormalOutcome.DIFFERENT:
        return verdict
    message = (
        f"proved different from the golden by {result.method}: after {len(result.counterexample)} rows of inputs "
        f"output {result.output} differs, {result.reason}"
    )
    diagnostics = (*verdict.diagnostics, Diagnostic(message=message, code="formal"))
    return replace(verdict, outcome=Outcome.MISMATCH, diagnostics=diagnostics)


def prove_candidate(prover: FormalProver, problem: Problem, text: str, *, wall_s: float = PROOF_WALL_S) -> FormalResult:
    """What can be proved of a candidate and the golden. Without a golden that is nothing: unknown."""
    reference = as_reference(problem)
    if reference is None:
        reason = "the problem has no golden to compare"
        return FormalResult(outcome=FormalOutcome.UNKNOWN, reason=reason, method="none")
    harness = harness_of(reference)
    return prover.prove(
        golden=reference.oracle.golden,
        golden_top=reference.oracle.golden_top,
        candidate=text,
        candidate_top=problem.top_module,
        ports=harness.ports,
        protocol=harness.protocol,
        wall_s=wall_s,
    )
