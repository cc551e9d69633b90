"""`earl verify`: one candidate against one problem."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from earl.cli.common import console, json_option, print_json
from toolchain.errors import UsageError

if TYPE_CHECKING:
    from verifiers.formal import FormalResult
    from verifiers.judgement import Judgement
    from verifiers.second_opinion import Opinion
    from verifiers.types import Problem

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--problem", "problem_path", type=_FILE, required=True, help="JSON of a problem, or JSONL of several.")
@click.option("--candidate", "candidate_path", type=_FILE, required=True, help="Verilog, or a completion around it.")
@click.option("--index", type=click.IntRange(min=0), help="Which problem of a file with several, from 0.")
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, help="Stimulus seed; may be repeated.")
@click.option("--second-opinion", type=click.Choice(["verilator"]), help="Ask this simulator too about a pass.")
@click.option(
    "--formal/--no-formal",
    "is_formal",
    default=None,
    help="Try to prove it equal to the golden, or different. Default: for a pass on a stock testbench, if pyosys.",
)
@json_option
def command(  # noqa: PLR0913  (one parameter an option)
    problem_path: Path,
    candidate_path: Path,
    index: int | None,
    seeds: tuple[int, ...],
    second_opinion: str | None,
    is_formal: bool | None,
    is_json: bool,
) -> None:
    """Judge a candidate and show why it passes or fails. A pass needs every seed (default: the evaluation's two).

    Exit codes: 0 passed, 1 the candidate fails (or the second opinion or the proof differs), 2 usage, 3 a tool failed.
    """
    from dataclasses import asdict, replace

    from rich.console import Console

    from earl.show_proof import proof_document, render_proof
    from earl.show_verdict import render_judgement, render_opinion
    from hdl_bench.proofs import is_provable, verdict_with
    from hdl_bench.text_files import read_text
    from verifiers.farm import Farm
    from verifiers.seeds import EVAL_SEEDS
    from verifiers.verdict_json import verdict_document

    problem = read_problem(problem_path, index)
    text = read_text(candidate_path)
    seeds = seeds or EVAL_SEEDS
    with Farm(num_workers=1) as farm:
        [judgement] = farm.judge_all([(problem, text, seeds)])
    if is_formal is None:
        is_formal = judgement.verdict.passed and is_provable(problem) and has_pyosys()
    proof = prove(problem, judgement) if is_formal else None
    if proof and is_provable(problem):
        judgement = replace(judgement, verdict=verdict_with(judgement.verdict, proof))
    verdict = judgement.verdict
    opinion = ask_second(problem, judgement, seeds) if second_opinion and verdict.passed else None
    if is_json:
        second = {"second_opinion": asdict(opinion)} if opinion else {}
        print_json(verdict_document(verdict) | second | ({"formal": proof_document(proof)} if proof else {}))
    else:
        screen = Console(highlight=False)
        screen.print(render_judgement(problem, judgement, seeds))
        if opinion:
            screen.print(render_opinion(judgement, opinion))
        if proof:
            screen.print(render_proof(proof))
    is_fine = (
        verdict.passed
        and not (opinion and opinion.stance == "differs")
        and not (proof and proof.outcome == "different")
    )
    sys.exit(0 if is_fine else 1 if verdict.is_scored else 3)


def ask_second(problem: "Problem", judgement: "Judgement", seeds: tuple[int, ...]) -> "Opinion":
    """Verilator's opinion on a judgement that is a pass. Raises InfrastructureError when it cannot be asked."""
    from verifiers.second_opinion import local_second_opinion

    assert judgement.candidate is not None, "a pass has a candidate"
    return local_second_opinion(isolation=judgement.verdict.isolation).ask(problem, judgement.candidate.text, seeds)


def has_pyosys() -> bool:
    """Whether a proof can be tried here; says on stderr when not."""
    from toolchain.errors import ToolNotFound
    from toolchain.yosys import find_pyosys

    try:
        find_pyosys()
    except ToolNotFound as error:
        console.print(f"the pass is not put to proof: {error}", markup=False)
        return False
    return True


def prove(problem: "Problem", judgement: "Judgement") -> "FormalResult":
    """What can be proved of a judgement's candidate. Raises ToolNotFound without pyosys."""
    from hdl_bench.proofs import prove_candidate
    from verifiers.formal import FormalOutcome, FormalProver, FormalResult

    if judgement.candidate is None:
        reason = "there is no candidate to compare"
        return FormalResult(outcome=FormalOutcome.UNKNOWN, reason=reason, method="none")
    with FormalProver(isolation=judgement.verdict.isolation or "auto") as prover:
        return prove_candidate(prover, problem, judgement.candidate.text)


def read_problem(path: Path, index: int | None) -> "Problem":
    """The problem of a file: a JSON object, a document {"problems": [...]}, or JSON lines.

    Raises:
        UsageError: no such file, no JSON, not a problem, several problems and no index, an index out of range.
    """
    from hdl_bench.problem_files import read_problems

    problems = read_problems(path)
    last = len(problems) - 1
    if index is None and last:
        raise UsageError(f"{path} holds {len(problems)} problems; choose one with --index 0 to {last}")
    if index is not None and index > last:
        raise UsageError(f"{path} holds {len(problems)} problems, so --index {index} is none; use 0 to {last}")
    return problems[index or 0]
