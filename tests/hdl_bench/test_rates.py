"""Rates by hand: tool errors leave n, k goes as far as the rows, upstream's arithmetic beside the unbiased one."""

from dataclasses import replace

import pytest
from scores_by_hand import score_of

from hdl_bench.rates import problem_counts, results_of
from hdl_bench.score import SizeRatios
from hdl_bench.sizes import sizes_of, with_sizes
from verifiers.synthesis import SynthesisStatistics


def test_pass_rates_by_hand():
    score = score_of({"a": "Pmm", "b": "P", "c": "m"}, upstream={"a": "..R", "b": ".", "c": "C"}, errata=("c",))
    results = results_of(score)
    hardened, compatible = results["hardened"], results["compatible"]
    assert hardened["all"]["pass@1"]["value"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert hardened["all"]["pass@1"]["n_problems"] == 3
    assert hardened["sound"]["pass@1"]["value"] == pytest.approx((1 / 3 + 1) / 2)
    assert compatible["all"]["pass@1"]["value"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert compatible["sound"]["pass@1"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert compatible["upstream"]["value"] == pytest.approx((0.66 + 1 + 0) / 3)
    low, high = hardened["all"]["pass@1"]["ci95"]
    assert 0 <= low < hardened["all"]["pass@1"]["value"] < high <= 1


def test_k_goes_as_far_as_the_problem_with_the_fewest_rows():
    results = results_of(score_of({"a": "PmmmmmP", "b": "Pmmmm"}))
    assert [*results["hardened"]["all"]] == ["pass@1", "pass@5"]
    # 1 - C(5,5)/C(7,5) = 20/21; b has five rows and a pass among them.
    assert results["hardened"]["all"]["pass@5"]["value"] == pytest.approx((20 / 21 + 1) / 2)
    assert [*results_of(score_of({"a": "PmmmmmP", "b": "Pmmm"}))["hardened"]["all"]] == ["pass@1"]


def test_greedy_sampling_has_no_pass_at_more_than_one():
    assert [*results_of(score_of({"a": "PPPPP"}), is_greedy=True)["hardened"]["all"]] == ["pass@1"]


def test_tool_errors_leave_n_and_are_counted():
    results = results_of(score_of({"a": "P?", "b": "??", "c": "mm"}))
    assert results["hardened"]["all"]["pass@1"]["value"] == pytest.approx((1 + 0) / 2)
    assert results["hardened"]["all"]["pass@1"]["n_problems"] == 2
    assert results["tool_errors"] == {"num_rows": 3, "problems_without_rows": ["b"]}
    # By upstream's rule, which has no such outcome, every row counts.
    compatible = results_of(score_of({"a": "P?"}, upstream={"a": ".C"}))["compatible"]
    assert compatible["all"]["pass@1"]["value"] == pytest.approx(0.5)


def test_a_problem_that_lost_rows_leaves_the_k_that_it_cannot_give():
    results = results_of(score_of({"a": "PPPP?", "b": "Pmmmm"}))
    assert results["hardened"]["all"]["pass@1"]["n_problems"] == 2
    assert results["hardened"]["all"]["pass@5"] == {"value": 1.0, "ci95": [1.0, 1.0], "n_problems": 1}


def test_how_far_rows_came():
    rates = results_of(score_of({"a": "sfiP", "b": "mmP?"}, proofs={"a": "equivalent", "b": "unknown"}))["rates"]
    values = {name: rate["value"] for name, rate in rates.items()}
    assert values == {
        "syntax": pytest.approx((3 / 4 + 1) / 2),
        "interface": pytest.approx((1 / 4 + 1) / 2),
        "function": pytest.approx((1 / 4 + 1 / 3) / 2),
        "formally_equivalent": pytest.approx((1 / 4 + 0) / 2),
    }
    assert "formally_equivalent" not in results_of(score_of({"a": "P"}))["rates"]


def test_categories_and_difficulties():
    results = results_of(score_of({"a": "P", "b": "m", "c": "P"}, families={"a": "mux", "b": "mux", "c": "adder"}))
    found = {name: block["pass@1"]["value"] for name, block in results["by_category"].items()}
    assert found == {"adder": 1.0, "mux": 0.5}
    assert {name: block["pass@1"]["n_problems"] for name, block in results["by_difficulty"].items()} == {"3": 2, "5": 1}
    assert results_of(score_of({"a": "P"}))["by_category"] == {}


def test_failures_are_counted_by_outcome_and_code():
    failures = results_of(score_of({"a": "Pssm"}))["failures"]
    assert failures == {
        "syntax_error": {"num_rows": 2, "codes": {"ExpectedSemicolon": 2}},
        "mismatch": {"num_rows": 1, "codes": {"ExpectedSemicolon": 1}},
    }


def test_counts_of_a_problem():
    [count] = problem_counts(score_of({"a": "Pm?"}, upstream={"a": "..R"}, errata=("a",), families={"a": "mux"}))
    assert (count.num_rows, count.num_samples, count.num_passed, count.num_passed_compatible) == (3, 2, 1, 2)
    assert (count.category, count.difficulty, count.is_sound, count.num_tool_errors) == ("mux", 3, False, 1)


def test_sizes_are_geometric_means_over_passes():
    rows = score_of({"a": "PPm"}).rows
    sizes = (SizeRatios(cells=2.0, wires=1.0, depth=None), SizeRatios(cells=0.5, wires=4.0, depth=None), None)
    found = sizes_of([replace(row, sizes=size) for row, size in zip(rows, sizes, strict=True)])
    assert found == {
        "num_passes": 2,
        "cells": {"geometric_mean": pytest.approx(1.0), "num_passes": 2},
        "wires": {"geometric_mean": pytest.approx(2.0), "num_passes": 2},
        "depth": {"geometric_mean": None, "num_passes": 0},
    }
    assert sizes_of(rows) is None


class FakeSynthesizer:
    """As many cells as the text has characters; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked = []

    def statistics(self, text: str, top: str) -> SynthesisStatistics:
        self.asked.append(text)
        nums = dict.fromkeys(("num_flip_flops", "num_latches", "num_wires", "depth"), 0)
        return SynthesisStatistics(num_cells=len(text), num_wire_bits=2, cells={}, **nums)


def test_only_passes_are_synthesized_and_equal_designs_once():
    synthesizer, told = FakeSynthesizer(), []
    score = with_sizes(score_of({"a": "PmP"}), synthesizer, lambda *now: told.append(now))
    candidates = ["module a_0; endmodule", "module a_2; endmodule"]
    assert synthesizer.asked == [candidates[0], "module a; endmodule", candidates[1]]
    assert [row.sizes and row.sizes.cells for row in score.rows] == [21 / 19, None, 21 / 19]
    assert score.rows[0].sizes.depth == 1.0
    assert told[-1] == ("synthesis", 3, 3)
