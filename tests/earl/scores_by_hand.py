"""Scores made by hand for tests: no judge, no simulator."""

from collections.abc import Mapping, Sequence

from hdl_bench.compatible import CompatibleRule
from hdl_bench.compatible_verilog_eval import LETTERS, VerilogEvalChecker, rate_in_whole_per_cent
from hdl_bench.errata import Erratum
from hdl_bench.score import Sample, Score, ScoredRow
from hdl_bench.scored import ScoredBenchmark
from toolchain.diagnostics import Diagnostic
from verifiers.formal import FormalOutcome
from verifiers.types import Outcome, Problem, ReferenceOracle, Stage, Verdict

# one character a row: our outcome
OUTCOMES = {
    "P": Outcome.PASSED,
    "m": Outcome.MISMATCH,
    "s": Outcome.SYNTAX_ERROR,
    "i": Outcome.INTERFACE_ERROR,
    "f": Outcome.FORBIDDEN_CONSTRUCT,
    "?": Outcome.TOOL_ERROR,
}
RULE = CompatibleRule(letters=LETTERS, checker=VerilogEvalChecker, job=lambda answer: answer)


def score_of(
    rows: Mapping[str, str],
    *,
    upstream: Mapping[str, str] | None = None,
    errata: Sequence[str] = (),
    families: Mapping[str, str] | None = None,
    proofs: Mapping[str, str] | None = None,
) -> Score:
    """A score with a problem for each key of `rows` (a character of OUTCOMES a row), upstream's letters beside them."""
    benchmark = ScoredBenchmark(
        name="verilog-eval-v2-spec" if upstream else "procedural",
        problems={name: _problem(name, (families or {}).get(name, "")) for name in rows},
        prepare=lambda problem_id, completion: completion,
        compatible=RULE if upstream else None,
        upstream_rate=rate_in_whole_per_cent if upstream else None,
        errata={name: Erratum(problem_id=name, kinds=("weak_testbench",), note="why") for name in errata},
    )
    return Score(
        benchmark=benchmark,
        rows=tuple(
            ScoredRow(
                sample=Sample(problem_id=name, sample_idx=index, completion=f"{name} {index}"),
                verdict=_verdict(OUTCOMES[letter]),
                compatible=RULE.result(upstream[name][index]) if upstream else None,
                proof=FormalOutcome(proofs[name]) if proofs and letter == "P" else None,
                candidate=f"module {name}_{index}; endmodule",
            )
            for name, letters in rows.items()
            for index, letter in enumerate(letters)
        ),
    )


def _problem(name: str, family: str) -> Problem:
    oracle = ReferenceOracle(golden=f"module {name}; endmodule", golden_top=name)
    return Problem(
        problem_id=name,
        source="procedural",
        prompt=f"make {name}",
        top_module="TopModule",
        ports=(),
        oracle=oracle,
        family=family,
        difficulty=len(family),
    )


def _verdict(outcome: Outcome) -> Verdict:
    said = () if outcome is Outcome.PASSED else (Diagnostic(message="bad", code="ExpectedSemicolon"),)
    return Verdict(
        outcome=outcome, stage=Stage.COMPARE, seed=5, diagnostics=said, versions={"iverilog": "11.0"}, isolation="none"
    )
