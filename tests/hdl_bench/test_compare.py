"""Comparisons by hand: McNemar's exact test, the paired bootstrap, what is refused, and what machines are told."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores_by_hand import score_of

from hdl_bench.compare import bootstrap_p, compare, mcnemar_p
from hdl_bench.gate_reports import annotations, verdict_words, write_junit
from hdl_bench.results import RunInfo, results_document
from toolchain.errors import UsageError


def document_of(rows, *, info=RunInfo(), **fields):  # noqa: B008  (frozen)
    return results_document(score_of(rows, **fields), info)


def one_answer_each(passes: str) -> dict[str, str]:
    return {f"p{index:02d}": letter for index, letter in enumerate(passes)}


def test_mcnemar_by_hand():
    # 7 lost, 1 won: 2 * (C(8,0) + C(8,1)) / 2**8
    assert mcnemar_p([-1] * 7 + [1] + [0] * 20) == pytest.approx(2 * 9 / 256)
    assert mcnemar_p([0.0, 0.0]) == 1.0
    assert mcnemar_p([1.0, -1.0]) == 1.0


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_sum_of_binomial_tails(num_won, num_lost):
    total = num_won + num_lost
    tail = sum(math.comb(total, i) for i in range(min(num_won, num_lost) + 1)) / 2**total
    assert mcnemar_p([1.0] * num_won + [-1.0] * num_lost) == pytest.approx(min(1.0, 2 * tail))


def test_bootstrap_p_is_small_for_a_clear_change_and_large_for_none():
    assert bootstrap_p([0.1, 0.2, 0.15, 0.12, 0.3, 0.2]) < 0.001
    assert bootstrap_p([0.1, -0.1] * 10) > 0.5
    assert bootstrap_p([0.0] * 5) == 1.0


def test_one_answer_a_problem_is_compared_by_mcnemar():
    before, after = document_of(one_answer_each("P" * 10 + "mm")), document_of(one_answer_each("mmmmmmP" + "PPPPm"))
    found = compare(before, after)
    assert (found.test, found.num_problems) == ("mcnemar", 12)
    assert found.before == pytest.approx(10 / 12)
    assert found.difference == pytest.approx(-5 / 12)
    assert found.p_value == pytest.approx(2 * 8 / 2**7)
    assert not found.is_beyond_noise
    assert [change.problem_id for change in found.lost] == [f"p{index:02d}" for index in range(6)]
    assert [change.problem_id for change in found.gained] == ["p10"]
    assert compare(before, document_of(one_answer_each("m" * 6 + "PPPP" + "mm"))).is_regression
    assert not compare(document_of(one_answer_each("m" * 6 + "PPPP" + "mm")), before).has_failed


def test_fail_below_counts_points_whatever_the_noise():
    before, after = document_of(one_answer_each("PPPP")), document_of(one_answer_each("PPPm"))
    assert not compare(before, after).has_failed
    assert not compare(before, after, fail_below=25.0).has_failed
    assert compare(before, after, fail_below=24.9).has_failed
    assert "more than 24.9 points down" in verdict_words(compare(before, after, fail_below=24.9))
    assert not compare(after, before, fail_below=0).has_failed


def test_several_answers_are_compared_by_the_paired_bootstrap():
    before = document_of({f"p{i}": "PPPPm" for i in range(12)})
    after = document_of({f"p{i}": "PPmmm" for i in range(12)})
    found = compare(before, after)
    assert found.test == "bootstrap"
    assert found.difference == pytest.approx(-0.4)
    assert found.is_regression
    assert found.ci95 == (pytest.approx(-0.4), pytest.approx(-0.4))
    assert compare(before, after, metric="pass@5").difference == 0.0
    # Two problems that move the same way are no evidence, unless their samples are.
    few = [document_of({f"p{i}": letters for i in range(2)}) for letters in ("PPPPm", "PPPmm", "mmmmm")]
    assert not compare(few[0], few[1]).is_beyond_noise
    assert not compare(few[0], few[2]).is_beyond_noise
    many = [document_of({f"p{i}": letters for i in range(2)}) for letters in ("P" * 20, "m" * 20)]
    assert compare(*many).is_regression


def test_greedy_answers_that_agree_count_once():
    info = RunInfo(temperature=0.0)
    found = compare(document_of({"a": "PP", "b": "mm"}, info=info), document_of({"a": "PP", "b": "PP"}, info=info))
    assert (found.test, found.p_value) == ("mcnemar", 1.0)


def test_a_comparison_with_itself_shows_nothing():
    document = document_of({"a": "Pm", "b": "PP"})
    found = compare(document, document)
    assert (found.difference, found.p_value, found.gained, found.lost) == (0.0, 1.0, (), ())
    assert found.notes == ()
    assert "no change" in verdict_words(found)


def test_upstreams_rule_and_the_sound_problems_can_be_compared():
    sides = [
        document_of({"a": "P", "b": "m"}, upstream={"a": letter, "b": "."}, errata=("b",)) for letter in (".", "R")
    ]
    assert compare(*sides, rule="compatible").before == 1.0
    assert compare(*sides, rule="compatible", is_sound_only=True).after == 0.0
    assert compare(*sides).difference == 0.0


def test_problems_of_one_side_and_tool_errors_are_left_out():
    found = compare(document_of({"a": "P", "b": "?"}), document_of({"a": "P", "b": "P"}))
    assert (found.problem_ids, found.left_out) == (("a",), ("b",))


@pytest.mark.parametrize(
    ("before", "after", "options", "said"),
    [
        ({"a": "P"}, {"a": "P", "b": "P"}, {}, "problems of procedural differ"),
        ({"a": "P"}, {"a": "P"}, {"metric": "pass@5"}, "no problem has 5 or more samples"),
        ({"a": "P"}, {"a": "P"}, {"metric": "rate"}, "not of the form pass@K"),
        ({"a": "P"}, {"a": "P"}, {"rule": "compatible"}, "scored without upstream's rule"),
        ({"a": "?"}, {"a": "P"}, {}, "no problem has 1 or more samples"),
    ],
)
def test_what_cannot_be_compared_is_refused(before, after, options, said):
    with pytest.raises(UsageError, match=said):
        compare(document_of(before), document_of(after), **options)


def test_other_benchmarks_are_refused():
    with pytest.raises(UsageError, match="A is of procedural, B of verilog-eval-v2-spec"):
        compare(document_of({"a": "P"}), document_of({"a": "P"}, upstream={"a": "."}))


def test_what_else_differs_is_noted():
    before, after = document_of({"a": "P"}), document_of({"a": "P"}, info=RunInfo(temperature=0.8))
    after["versions"]["iverilog"] = "12.0"
    after["hashes"]["judge"] = "0" * 64
    notes = compare(before, after).notes
    assert any("judge hash differs" in note for note in notes)
    assert "iverilog 11.0 in A, 12.0 in B" in notes
    assert "temperature: None in A, 0.8 in B" in notes


def test_junit_has_a_case_a_problem_and_one_for_the_rate(tmp_path):
    before, after = document_of(one_answer_each("PPPPPPP?")), document_of(one_answer_each("mmmmmmPP"))
    write_junit(tmp_path / "junit.xml", compare(before, after))
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    cases = {case.get("name"): case for case in suites.iter("testcase")}
    assert [*cases] == ["pass@1", *(f"p{index:02d}" for index in range(8))]
    assert {name for name, case in cases.items() if case.find("failure") is not None} == {
        "pass@1",
        *(f"p{index:02d}" for index in range(6)),
    }
    assert cases["p07"].find("skipped") is not None
    [suite] = suites.iter("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("9", "7", "1")


def test_annotations_name_the_regression_and_what_was_lost():
    before, after = document_of(one_answer_each("P" * 12)), document_of(one_answer_each("m" * 12))
    error, *warnings = annotations(compare(before, after))
    assert error.startswith("::error title=procedural::pass@1 100.0%25 -> 0.0%25, -100.0 points")
    assert warnings[0] == "::warning title=lost::p00: 1/1 -> 0/1"
    assert warnings[-1] == "::warning title=lost::and 3 more problems"
    assert len(warnings) == 10
    [notice] = annotations(compare(before, before))
    assert notice.startswith("::notice")
