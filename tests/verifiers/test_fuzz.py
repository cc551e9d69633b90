"""Damaged Verilog and random bytes through extract, screen and judge. `benchmarks/fuzz.py` does it by the thousand."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.text_mutations import damaged, noise
from verifiers.extract import extract
from verifiers.farm import Farm
from verifiers.static_check import static_check
from verifiers.types import Outcome, Port, Problem, Protocol, ReferenceOracle

_GOLDEN = "module TopModule(input [3:0] a, output reg y);\n  always @(*) begin\n    y = ^a;\n  end\nendmodule\n"
_PORTS = (Port(name="a", direction="input", width=4), Port(name="y", direction="output"))
_PROBLEM = Problem(
    problem_id="parity",
    source="test",
    prompt="",
    top_module="TopModule",
    ports=_PORTS,
    oracle=ReferenceOracle(golden=_GOLDEN, golden_top="TopModule", protocol=Protocol()),
)
_FORGED = [
    path.read_text(encoding="utf-8", errors="replace")
    for path in sorted(Path(__file__).parents[1].joinpath("adversarial").glob("*.v"))
]
_SEEDS = st.integers(0, 2**32)


def _draw(seed: int) -> str:
    rng = random.Random(seed)
    if rng.random() < 0.2:
        return noise(rng, rng.randint(0, 500))
    text, other = rng.sample([_GOLDEN, _GOLDEN, *_FORGED], 2)
    return damaged(text, other, rng)


@settings(max_examples=200, deadline=5000)
@given(_SEEDS | st.text(max_size=300))
def test_extraction_finds_an_exact_part_of_any_text(drawn):
    text = drawn if isinstance(drawn, str) else _draw(drawn)
    candidate = extract(text, "TopModule")
    if candidate is not None:
        body = candidate.text[candidate.header_length :]
        assert text[candidate.start_offset : candidate.start_offset + len(body)] == body


@settings(max_examples=150, deadline=5000)
@given(_SEEDS)
def test_the_static_checks_have_an_answer_to_any_text(seed):
    text = _draw(seed).encode(errors="replace").decode()
    finding = static_check(text, "TopModule", _PORTS)
    assert finding is None or (finding.diagnostics and finding.outcome is not Outcome.TOOL_ERROR)


@pytest.fixture(scope="module")
def farm():
    with Farm(num_workers=1) as opened:
        yield opened


@pytest.mark.tool
@settings(max_examples=10, deadline=None)
@given(st.lists(_SEEDS, min_size=4, max_size=8))
def test_every_damaged_text_gets_a_scored_verdict_and_costs_no_worker(farm, seeds):
    judgements = farm.judge_all([(_PROBLEM, _draw(seed), (1, 2)) for seed in seeds])
    assert all(judgement.verdict.is_scored for judgement in judgements)
    assert farm.stats().num_workers_lost == 0
    assert farm.stats().num_batch_alarms == 0
