"""Scores: rows in input order, rates by hand, and why two rules part ways."""

import json
from concurrent.futures import Future
from dataclasses import replace

import pytest
from stock_checkout import PROBLEMS, write_checkout

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.compatible import CompatibleResult
from hdl_bench.compatible_verilog_eval import LETTERS, rate_in_whole_per_cent
from hdl_bench.errata import Erratum
from hdl_bench.score import Judges, Sample, ScoredRow, Upstream, read_samples, reason_of, score_samples
from hdl_bench.scored import ScoredBenchmark
from toolchain.diagnostics import Diagnostic
from toolchain.errors import UsageError
from verifiers.farm import Farm
from verifiers.judgement import Judgement
from verifiers.problem_json import problem_to_json
from verifiers.simulate import local_executor
from verifiers.types import Clock, FirstMismatch, Outcome, Problem, Protocol, ReferenceOracle, Stage, Verdict

GOOD, BAD = PROBLEMS[0].source("TopModule"), PROBLEMS[0].source("TopModule").replace("= in", "= ~in")


def problem_of(name: str) -> Problem:
    oracle = ReferenceOracle(golden="module TopModule; endmodule", golden_top="TopModule")
    return Problem(problem_id=name, source="procedural", prompt="", top_module="TopModule", ports=(), oracle=oracle)


def benchmark_of(*names: str, errata: tuple[str, ...] = ()) -> ScoredBenchmark:
    return ScoredBenchmark(
        name="procedural",
        problems={name: problem_of(name) for name in names},
        prepare=lambda problem_id, completion: completion,
        upstream_rate=rate_in_whole_per_cent,
        errata={name: Erratum(problem_id=name, kinds=("unsatisfiable",), note="") for name in errata},
    )


def row_of(name: str, index: int, *, outcome: Outcome, letter: str | None = None, **fields) -> ScoredRow:
    return ScoredRow(
        sample=Sample(problem_id=name, sample_idx=index, completion=""),
        verdict=Verdict(outcome=outcome, stage=Stage.COMPARE, seed=5, **fields),
        compatible=None if letter is None else CompatibleResult(letter=letter, meaning=LETTERS[letter]),
    )


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_are_numbered_by_problem_in_input_order(tmp_path):
    rows = [{"problem_id": name, "completion": str(i), "model": "m"} for i, name in enumerate("abaab")]
    samples = read_samples(write_lines(tmp_path / "s.jsonl", rows), benchmark_of("a", "b"))
    assert [(s.problem_id, s.sample_idx, s.completion) for s in samples] == [
        ("a", 0, "0"),
        ("b", 0, "1"),
        ("a", 1, "2"),
        ("a", 2, "3"),
        ("b", 1, "4"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no row"),
        ("{not json}\n", "line 1 is no JSON"),
        ('{"problem_id": "a", "completion": ""}\n[1]\n', "line 2 must be an object"),
        ('{"problem_id": "a"}\n', "line 1 needs 'completion' as a string, got None"),
        ('{"problem_id": 3, "completion": ""}\n', "line 1 needs 'problem_id' as a string, got 3"),
        ('{"problem_id": "c", "completion": ""}\n', "line 1: procedural has no problem 'c'; its names are like a, b"),
    ],
)
def test_a_bad_row_is_named(tmp_path, text, said):
    path = tmp_path / "s.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_samples(path, benchmark_of("a", "b"))


def test_the_reason_of_a_disagreement():
    refused = row_of(
        "a",
        0,
        outcome=Outcome.FORBIDDEN_CONSTRUCT,
        letter=".",
        diagnostics=(Diagnostic(message="'$display' is not allowed"),),
    )
    assert reason_of(refused) == "forbidden_construct: '$display' is not allowed"
    first = FirstMismatch(row=7, output="q", expected="01", got="11")
    wrong = row_of("a", 0, outcome=Outcome.MISMATCH, letter=".", first_mismatch=first)
    assert "output q is 11 where the golden's is 01, in row 7 of our own stimulus (seed 5)" in reason_of(wrong)
    assert "upstream's letter is T (time-out)" in reason_of(row_of("a", 0, outcome=Outcome.PASSED, letter="T"))


class FakeJudge:
    """Passes what holds `good`; keeps what it was asked."""

    isolation = "none"

    def __init__(self) -> None:
        self.asked = []

    def submit(self, problem, completion_text, seeds) -> "Future[Judgement]":
        self.asked.append((problem.problem_id, completion_text))
        outcome = Outcome.PASSED if "good" in completion_text else Outcome.NO_CODE
        future: Future[Judgement] = Future()
        verdict = Verdict(outcome=outcome, stage=Stage.COMPARE, seed=seeds[0])
        future.set_result(Judgement(candidate=None, verdict=verdict))
        return future

    def judge_all(self, jobs, progress=None):
        judgements = [self.submit(*job).result() for job in jobs]
        for number in range(len(judgements)):
            progress(number + 1, len(judgements))
        return judgements


def test_every_row_is_judged_duplicates_too_and_progress_is_told():
    samples = [Sample(problem_id="a", sample_idx=i, completion=text) for i, text in enumerate(("good", "bad", "good"))]
    told = []
    score = score_samples(benchmark_of("a"), samples, Judges(ours=FakeJudge()), progress=lambda *now: told.append(now))
    assert [row.verdict.passed for row in score.rows] == [True, False, True]
    assert [row.sample for row in score.rows] == samples
    assert told == [("hardened", 1, 3), ("hardened", 2, 3), ("hardened", 3, 3)]


def test_what_runs_longest_is_judged_first_and_rows_keep_their_order():
    benchmark, judge = benchmark_of("a", "b"), FakeJudge()
    long = Protocol(clocks=(Clock(name="clk"),), min_cycles=9000)
    later = benchmark.problems["b"]
    benchmark.problems["b"] = replace(later, oracle=replace(later.oracle, protocol=long))
    samples = [Sample(problem_id=name, sample_idx=i, completion=f"{name}{i}") for i in (0, 1) for name in "ab"]
    score = score_samples(benchmark, samples, Judges(ours=judge), progress=lambda *now: None)
    assert [text for _, text in judge.asked] == ["b0", "b1", "a0", "a1"]
    assert [row.sample for row in score.rows] == samples


def test_procedural_problems_come_from_a_file_or_a_folder(tmp_path):
    write_lines(tmp_path / "one.jsonl", [problem_to_json(problem_of("a")), problem_to_json(problem_of("b"))])
    for root in (tmp_path, tmp_path / "one.jsonl"):
        assert list(load_benchmark("procedural", root).problems) == ["a", "b"]
    write_lines(tmp_path / "two.jsonl", [problem_to_json(problem_of("a"))])
    with pytest.raises(UsageError, match="the problem_id 'a' twice"):
        load_benchmark("procedural", tmp_path)
    with pytest.raises(UsageError, match=r"bad\.jsonl: the problem lacks the key 'prompt'"):
        load_benchmark("procedural", write_lines(tmp_path / "bad.jsonl", [{"problem_id": "a"}]))


@pytest.mark.tool
@pytest.mark.slow
def test_a_checkout_is_scored_by_both_rules(tmp_path):
    benchmark = load_benchmark("verilog-eval-v2-spec", write_checkout(tmp_path / "checkout"))
    forged = BAD.replace("endmodule", '  initial $display("Mismatches: 0 in 9 samples");\nendmodule')
    texts = (GOOD, BAD, forged, f"```\n{GOOD}```", "no idea", GOOD)
    samples = [Sample(problem_id="Prob901_wire", sample_idx=i, completion=text) for i, text in enumerate(texts)]
    upstream = Upstream([local_executor(), local_executor()])
    with Farm(num_workers=1) as farm:
        score = score_samples(benchmark, samples, Judges(ours=farm, upstream=upstream), progress=lambda *now: None)
    assert [row.verdict.outcome for row in score.rows] == [
        Outcome.PASSED,
        Outcome.MISMATCH,
        Outcome.FORBIDDEN_CONSTRUCT,
        Outcome.PASSED,
        Outcome.NO_CODE,
        Outcome.PASSED,
    ]
    assert [row.compatible.letter for row in score.rows if row.compatible] == [".", "R", ".", ".", "S", "."]
    assert [row.sample.sample_idx for row in score.disagreements] == [2]
