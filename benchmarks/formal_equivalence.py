"""Measures formal equivalence: how many proofs decide, by which method, how long they take, and whether any is wrong.

Each golden is proved against itself under another name and against mutants. A mutant called equivalent is also
simulated under several seeds: one that fails there is a wrong verdict, and the script ends with exit code 1.

    python benchmarks/formal_equivalence.py --num 72
    python benchmarks/formal_equivalence.py --root VERILOG_EVAL/dataset_spec-to-rtl
"""

import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import click

from hdl_bench.procedural.problems import make_problems
from hdl_bench.proofs import prove_candidate
from verifiers.formal import FormalOutcome, FormalProver, FormalResult
from verifiers.golden import harness_of
from verifiers.mutate import mutants_of
from verifiers.types import Candidate, Problem, ReferenceOracle
from verifiers.verify import Verifier

SEEDS = (1, 2, 3)


@click.command()
@click.option("--root", type=click.Path(path_type=Path, exists=True), help="A folder of VerilogEval's *_ref.sv files.")
@click.option(
    "--num", type=click.IntRange(min=1), default=36, show_default=True, help="Procedural problems without it."
)
@click.option("--mutants", type=click.IntRange(min=0), default=3, show_default=True, help="Mutants a golden.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--wall-s", type=float, default=10.0, show_default=True, help="Deadline of one proof.")
def main(root: Path | None, num: int, mutants: int, seed: int, wall_s: float) -> None:
    """Print the figures as JSON."""
    problems = (
        _verilog_eval(root)
        if root
        else make_problems(families=None, levels=(1, 2, 3, 4, 5), split="train", num_problems=num, seed=seed)
    )
    proofs: dict[str, list[FormalResult]] = defaultdict(list)
    wrong = []
    verifier = Verifier()
    with FormalProver() as prover:
        for problem in problems:
            for kind, text in _candidates(problem, mutants, seed):
                proof = prove_candidate(prover, problem, text, wall_s=wall_s)
                proofs[kind].append(proof)
                if _is_wrong(verifier, problem, kind, text, proof):
                    wrong.append({"problem_id": problem.problem_id, "kind": kind, "candidate": text})
    figures = {kind: _figures(of_kind) for kind, of_kind in proofs.items()}
    print(json.dumps({**figures, "wrong": wrong}, indent=2))
    sys.exit(1 if wrong else 0)


def _verilog_eval(root: Path) -> Iterator[Problem]:
    for path in sorted(root.glob("*_ref.sv")):
        oracle = ReferenceOracle(golden=path.read_text(), golden_top="RefModule")
        yield Problem(
            problem_id=path.stem, source="verilog-eval", prompt="", top_module="RefModule", ports=None, oracle=oracle
        )


def _candidates(problem: Problem, num_mutants: int, seed: int) -> Iterator[tuple[str, str]]:
    golden = problem.oracle.golden
    yield "golden", golden
    for mutant in mutants_of(golden, problem.top_module, harness_of(problem).ports, seed=seed, limit=num_mutants):
        yield "mutant", mutant.text


def _is_wrong(verifier: Verifier, problem: Problem, kind: str, text: str, proof: FormalResult) -> bool:
    """Whether simulation contradicts a proof. A difference has been simulated already."""
    if kind == "golden":
        return proof.outcome is FormalOutcome.DIFFERENT
    if proof.outcome is not FormalOutcome.EQUIVALENT:
        return False
    verdict = verifier.verify(problem, Candidate(text=text), SEEDS)
    return verdict.is_scored and not verdict.passed


def _figures(proofs: list[FormalResult]) -> dict:
    unknown = Counter(f"{p.method}: {p.reason[:80]}" for p in proofs if p.outcome is FormalOutcome.UNKNOWN)
    return {
        "num_proofs": len(proofs),
        "outcomes": Counter(proof.outcome.value for proof in proofs),
        "methods": Counter(proof.method for proof in proofs if proof.outcome is not FormalOutcome.UNKNOWN),
        "unknown": dict(unknown.most_common(10)),
        "wall_ms": _spread([proof.duration_s for proof in proofs]),
        "cpu_ms_without_replay": _spread([proof.cpu_s for proof in proofs if proof.cpu_s]),
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    return {
        "median": round(statistics.median(seconds) * 1e3, 1),
        "p90": round(statistics.quantiles(seconds, n=10)[-1] * 1e3, 1),
    }


if __name__ == "__main__":
    main()
