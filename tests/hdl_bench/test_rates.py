"""Rates by hand: tool errors leave n, k goes as far as the rows, upstream's arithmetic beside the unbiased one."""

import pytest
from scores_by_hand import score_of

from hdl_bench.rates import problem_counts, results_of


def test_pass_rates_by_hand():
    score = score_of({"a": "Pmm", "b": "P", "c": "m"}, upstream={"a": "..R", "b": ".", "c": "C"}, errata=("c",))
    results = results_of(score)
    hardened, compatible = results["hardened"], results["compatible"]
    assert hardened["all"]["pass@1"]["value"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert hardened["all"]["pass@1"]["n_problems"] == 3
    assert hardened["sound"]["pass@1"]["value"] == pytest.approx((1 / 3 + 1) / 2)
    assert compatible["all"]["pass@1"]["value"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert compatible["all"]["upstream"]["value"] == pytest.approx((0.66 + 1 + 0) / 3)
    assert compatible["sound"]["upstream"]["value"] == pytest.approx((0.66 + 1) / 2)
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
