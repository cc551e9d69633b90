"""Forged designs against cocotb tests: none passes with a golden; with tests alone, what passes is written down.

A design's first line says how it ends with a golden, and how by the tests alone. The tests are of the kind that people
write: some skip what is not resolved, some have fixed vectors, some ask for too little.
"""

import re
from pathlib import Path

import pytest

from verifiers.reference import as_reference
from verifiers.static_check import static_check
from verifiers.stock import required_ports
from verifiers.types import Candidate, CocotbOracle, Problem
from verifiers.verify import Verifier

FOLDER = Path(__file__).parent
FORGED = sorted(FOLDER.glob("*.v"))
PROBLEMS = sorted(path.stem for path in FOLDER.joinpath("problems").glob("*.v"))
HEADER = re.compile(
    r"// problem: (?P<problem>\w+); expected: (?P<expected>\w+); tests alone: (?P<alone>\w+); trick: .+"
)
STATIC_OUTCOMES = {"forbidden_construct", "interface_error"}
SEED = 11


def header_of(path: Path) -> re.Match[str]:
    header = HEADER.fullmatch(path.read_text().split("\n", 1)[0])
    assert header, f"{path.name} does not start with '{HEADER.pattern}'"
    return header


def problem_of(name: str, *, has_golden: bool = True) -> Problem:
    golden = FOLDER.joinpath("problems", f"{name}.v").read_text()
    oracle = CocotbOracle(
        test_source=FOLDER.joinpath("problems", f"{name}.py").read_text(),
        is_trusted=True,
        golden=golden,
        golden_top="TopModule",
    )
    with_golden = Problem(
        problem_id=name, source="adversarial", prompt="", top_module="TopModule", ports=None, oracle=oracle
    )
    if has_golden:
        return with_golden
    alone = CocotbOracle(test_source=oracle.test_source, is_trusted=True)
    return Problem(
        problem_id=name,
        source="adversarial",
        prompt="",
        top_module="TopModule",
        ports=required_ports(with_golden),
        oracle=alone,
    )


def simulated() -> list[Path]:
    return [path for path in FORGED if header_of(path)["expected"] not in STATIC_OUTCOMES]


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    pytest.importorskip("cocotb_tools")
    return Verifier()


def test_the_corpus_is_large_and_no_design_is_expected_to_pass_beside_a_golden():
    assert len(FORGED) >= 25
    assert len({header_of(path)["problem"] for path in FORGED}) >= 10
    assert all(header_of(path)["expected"] != "passed" for path in FORGED)


@pytest.mark.parametrize("path", [path for path in FORGED if path not in simulated()], ids=lambda path: path.stem)
def test_what_the_screen_can_see_never_reaches_a_simulator(path):
    header = header_of(path)
    assert header["alone"] == header["expected"]
    finding = static_check(path.read_text(), "TopModule", required_ports(problem_of(header["problem"])))
    assert finding is not None, "the screen lets it through"
    assert finding.outcome == header["expected"], finding.diagnostics


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("path", simulated(), ids=lambda path: path.stem)
def test_a_forged_design_fails_beside_a_golden(path, verifier):
    header = header_of(path)
    verdict = verifier.verify(problem_of(header["problem"]), Candidate(text=path.read_text()), (SEED,))
    assert verdict.outcome == header["expected"], verdict.diagnostics


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("path", simulated(), ids=lambda path: path.stem)
def test_what_tests_alone_let_through_is_written_down(path, verifier):
    header = header_of(path)
    problem = problem_of(header["problem"], has_golden=False)
    verdict = verifier.verify(problem, Candidate(text=path.read_text()), (SEED,))
    assert verdict.outcome == header["alone"], verdict.diagnostics


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_golden_of_each_problem_passes_with_and_without_itself(name, verifier):
    problem = problem_of(name)
    assert as_reference(problem) is not None
    for oracle_problem in (problem, problem_of(name, has_golden=False)):
        verdict = verifier.verify(oracle_problem, Candidate(text=problem.oracle.golden), (SEED, SEED + 1))
        assert verdict.passed, verdict.diagnostics
