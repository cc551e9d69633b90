"""A comparison for machines that gate on it: JUnit XML, GitHub's annotations and its step summary."""

import os
from collections.abc import Iterator
from pathlib import Path

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from hdl_bench.compare import Change, Comparison
from hdl_bench.text_files import write_whole
from toolchain.errors import UsageError

_MAX_ANNOTATIONS = 9  # GitHub shows ten of a kind in a step


def verdict_words(comparison: Comparison) -> str:
    """The result in a line: both rates, the change with its interval, the test, what follows."""
    low, high = (100 * end for end in comparison.ci95)
    test = "McNemar, exact" if comparison.test == "mcnemar" else "paired bootstrap"
    if comparison.is_regression:
        verdict = "a regression beyond noise"
    elif comparison.is_beyond_noise:
        verdict = "a gain beyond noise"
    else:
        verdict = "within noise" if comparison.difference else "no change"
    if comparison.is_below:
        verdict += f", and more than {comparison.fail_below:g} points down"
    return (
        f"{comparison.metric} {comparison.before:.1%} -> {comparison.after:.1%}, {100 * comparison.difference:+.1f} "
        f"points [{low:+.1f}, {high:+.1f}], p = {comparison.p_value:.2g} ({test}): {verdict}"
    )


def change_words(change: Change) -> str:
    """What became of one problem."""
    (num_before, passed_before), (num_after, passed_after) = change.before, change.after
    return f"{change.problem_id}: {passed_before}/{num_before} -> {passed_after}/{num_after}"


def write_junit(path: Path, comparison: Comparison) -> None:
    """One test case for the rate and one for each problem: a failure where it was lost clearly, skipped where B has no
    rows of it. Raises InfrastructureError when the disk refuses."""
    suite = TestSuite(f"{comparison.benchmark}, {comparison.metric}, {comparison.rule}")
    rate = TestCase(comparison.metric, classname=comparison.benchmark)
    words = verdict_words(comparison)
    if comparison.has_failed:
        rate.result = [Failure(words, "regression")]
    rate.system_out = words
    suite.add_testcase(rate)
    changes = {change.problem_id: change for change in (*comparison.gained, *comparison.lost)}
    for problem_id in comparison.problem_ids:
        suite.add_testcase(_case(comparison, problem_id, changes.get(problem_id)))
    for problem_id in comparison.left_out:
        case = TestCase(problem_id, classname=comparison.benchmark)
        case.result = [Skipped("not compared: one side has too few samples of it")]
        suite.add_testcase(case)
    report = JUnitXml()
    report.add_testsuite(suite)
    write_whole(path, report.tostring().decode())


def _case(comparison: Comparison, problem_id: str, change: Change | None) -> TestCase:
    case = TestCase(problem_id, classname=comparison.benchmark)
    if change is not None:
        case.system_out = change_words(change)
        if change.points < 0 and change.is_clear:
            case.result = [Failure(change_words(change), "lost")]
    return case


def annotations(comparison: Comparison) -> Iterator[str]:
    """GitHub's workflow commands: an error for a regression or else a notice, and a warning a lost problem."""
    level = "error" if comparison.has_failed else "notice"
    yield f"::{level} title={_property(comparison.benchmark)}::{_data(verdict_words(comparison))}"
    clear = [change for change in comparison.lost if change.is_clear]
    for change in clear[:_MAX_ANNOTATIONS]:
        yield f"::warning title=lost::{_data(change_words(change))}"
    if len(clear) > _MAX_ANNOTATIONS:
        yield f"::warning title=lost::and {len(clear) - _MAX_ANNOTATIONS} more problems"


def append_step_summary(markdown: str) -> None:
    """Add to the page that GitHub shows for a step. Raises UsageError outside GitHub Actions."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        raise UsageError(
            "--github needs GITHUB_STEP_SUMMARY, which GitHub Actions sets; leave the option out elsewhere"
        )
    with open(path, "a", encoding="utf-8") as file:
        file.write(markdown + "\n")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
